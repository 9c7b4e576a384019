"""The variable that holds the trace header of the call that runs.

`os.environ` has it for every call. The C library, and with it the programs that the function starts,
learns of it where the call is sampled: nobody records the others, and it keeps every value that a variable
ever had. At 126 bytes a call, half a million calls filled the memory of a small function.
"""

import os

VARIABLE = "_X_AMZN_TRACE_ID"
_KEY = VARIABLE.encode()
_SAMPLED = "Sampled=1"
# Whether the C library has a header.
_told = False


def set(header):
    """Puts the header where tracing libraries look for it; an empty one takes the last away."""
    global _told
    environ = os.environ
    if header and _SAMPLED not in header:
        if _told:
            os.unsetenv(_KEY)
            _told = False
        try:
            environ._data[_KEY] = environ.encodevalue(header)
        except AttributeError:  # the customer's own mapping
            environ[VARIABLE] = header
    elif header:
        environ[VARIABLE] = header
        _told = True
    else:
        environ.pop(VARIABLE, None)
        _told = False
