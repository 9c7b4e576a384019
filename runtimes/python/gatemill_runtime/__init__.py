"""The runtime client of Python functions: loads a handler, answers invocations on descriptor 3.

`channel` frames, `handler` finds the function, `context` is what it is given, `marshal` turns its
result into JSON, `logs` writes what it says, `faults` says what went wrong, `loop` ties them
together. The name is long so that it can hide no module of a customer: `/var/runtime` is on
`sys.path`.
"""
