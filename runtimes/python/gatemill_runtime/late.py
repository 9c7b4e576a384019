"""Loaded by a parked process for nothing but the loading; see `warm`."""
