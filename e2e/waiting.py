"""Waiting for what happens in its own time: by asking, with a deadline."""

import time


def until(condition, what="it happened", seconds=60):
    """Waits for a condition; gives what it gave in the end. `what` says what holds then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")
