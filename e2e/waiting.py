"""Waiting for what happens in its own time: by asking, with a deadline."""

import time


def until(condition, seconds=60):
    """Waits for a condition; what it gave in the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")
