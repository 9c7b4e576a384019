"""The program that a managed Python runtime starts: prepares the interpreter, then serves invocations.

Kept to the few lines that have to run as `__main__`; everything else is in the package
`gatemill_runtime` beside it, which an interpreter can load from its bytecode cache. Nothing of the
customer's is imported before `sys.path` is in AWS's order.
"""

import sys

from gatemill_runtime import loop

if __name__ == "__main__":
    sys.exit(loop.main(sys.argv[1:]))
