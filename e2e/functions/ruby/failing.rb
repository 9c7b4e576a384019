raise IOError, 'not today'
