"""The hooks of SnapStart, under the name that functions import them by.

AWS's Python runtimes bring a module of this name with them, so a function uses it without packaging it. Same
functions, same order: what is registered to run before the snapshot runs last first, what is registered to run after
a restore runs first first. A function that packages AWS's own module gets that one: its folder comes before ours.
"""

_before_snapshot = []
_after_restore = []


def register_before_snapshot(func, *args, **kwargs):
    """Has `func(*args, **kwargs)` run before the snapshot is taken. Returns `func`, so it decorates."""
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func, *args, **kwargs):
    """Has `func(*args, **kwargs)` run in every environment made from the snapshot. Returns `func`."""
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot():
    """What was registered to run before the snapshot, as `(func, args, kwargs)` in the order of registration."""
    return _before_snapshot


def get_after_restore():
    """What was registered to run after a restore, as `(func, args, kwargs)` in the order of registration."""
    return _after_restore
