"""Events from JSON, results to JSON, with the liberties that AWS's runtime takes.

AWS encodes with a library that the standard one differs from: decimals become numbers, named
tuples become objects, bytes become text. The standard encoder is the fast one, so a result goes to
it as it is unless it holds one of those; finding that out is two calls into C for an ordinary
answer.
"""

import gc
import json
import os
import re
import sys

from .faults import Fault

_CONTAINERS = (dict, list, tuple)
_SCALARS = frozenset((str, int, float, bool, type(None)))
_PLAIN = _SCALARS.union(_CONTAINERS)


def _keeps_unicode():
    """Whether text leaves as UTF-8: since python3.12; before, non-ASCII characters are escaped.

    The runtime that was asked for counts, not the interpreter that happens to stand in for it.
    """
    match = re.match(r"AWS_Lambda_python3\.(\d+)$", os.environ.get("AWS_EXECUTION_ENV", ""))
    return (int(match.group(1)) if match else sys.version_info[1]) >= 12


# Stands around a decimal's digits until the whole text is there: the standard encoder lets nobody
# write a bare number. Random, so that no text of a customer's can look like it.
_MARK = "\ue000" + os.urandom(12).hex() + "\ue001"


class _Encoder(json.JSONEncoder):
    """Knows decimals; `marked` tells that some are in the text."""

    marked = False

    def default(self, o):
        decimal = sys.modules.get("decimal")
        if decimal is None or not isinstance(o, decimal.Decimal):
            return super().default(o)
        if o.is_nan():
            return float("nan")
        self.marked = True
        return _MARK + str(o) + _MARK


_encoder = _Encoder(ensure_ascii=_keeps_unicode() is False)


def _new_plain():
    """The standard encoder's own inner function, made once: `encode` makes one for each value. It
    knows decimals as `_encoder` does, and loses track of its own nesting when it fails. None where the
    interpreter has it not."""
    make = json.encoder.c_make_encoder
    if make is None:
        return None
    escape = json.encoder.c_encode_basestring_ascii
    if not _encoder.ensure_ascii:
        escape = json.encoder.c_encode_basestring
    try:
        return make({}, _encoder.default, escape, None, ": ", ", ", False, False, True)
    except TypeError:
        return None


_plain = _new_plain()
_mark_pattern = re.compile('"%s([^"]*?)%s"' % ((re.escape(_encoder.encode(_MARK)[1:-1]),) * 2))
_decoder = json.JSONDecoder()
_scan = _decoder.scan_once


def event(text):
    """The event that the payload's text holds."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError):
        pass
    # White space around it, or not JSON: the slow way has the words for both.
    try:
        return _decoder.decode(text)
    except ValueError as error:
        raise Fault(Fault.UNMARSHAL_ERROR, "Unable to unmarshal input: %s" % error)


def result(value):
    """The bytes that answer the caller. Bytes that a handler returns are taken as they are."""
    if isinstance(value, bytes):
        return value
    try:
        return to_json(value)
    except Exception as error:
        raise Fault(Fault.MARSHAL_ERROR, "Unable to marshal response: %s" % error)


def to_json(value):
    """`value` as JSON in UTF-8."""
    if not _is_ordinary(value) and _needs_conversion(value):
        value = _convert(value, set())
    try:
        text = _to_text(value)
    except TypeError:
        # Of an ordinary value, the keys were not looked at.
        if not _needs_conversion(value):
            raise
        text = _to_text(_convert(value, set()))
    if _encoder.marked:
        _encoder.marked = False
        text = _mark_pattern.sub(r"\1", text)
    return text.encode("utf-8")


def _to_text(value):
    global _plain
    if _plain is None:
        return _encoder.encode(value)
    try:
        return "".join(_plain(value, 0))
    except BaseException:
        _plain = _new_plain()
        _encoder.marked = False
        raise


def error(body):
    """An error body as JSON. Its text is the customer's and may hold what UTF-8 cannot."""
    try:
        return to_json(body)
    except UnicodeEncodeError:
        return json.dumps(body).encode("ascii")


def _needs_conversion(value):
    """Whether a named tuple or bytes are somewhere in `value`.

    Goes level by level with calls that loop in C, and looks at each container once.
    """
    if type(value) in _SCALARS:
        return False
    level = gc.get_referents(value) if type(value) in _PLAIN else [value]
    if _SCALARS.issuperset(map(type, level)):
        return False
    seen = set()
    while level:
        kinds = set(map(type, level))
        for kind in kinds - _PLAIN:
            if issubclass(kind, bytes) or (issubclass(kind, tuple) and hasattr(kind, "_asdict")):
                return True
        if not any(issubclass(kind, _CONTAINERS) for kind in kinds):
            return False
        fresh = {id(o): o for o in level if isinstance(o, _CONTAINERS) and id(o) not in seen}
        seen.update(fresh)
        level = _children(fresh.values())
    return False


def _is_ordinary(value):
    """Whether `value` is an object of text, numbers and objects of such, as answers to HTTP requests are:
    a quick look before the thorough one. What its keys are, the encoder finds."""
    if type(value) is not dict:
        return False
    for item in value.values():
        if type(item) not in _SCALARS and (
            type(item) is not dict or not _SCALARS.issuperset(map(type, item.values()))
        ):
            return False
    return True


def _children(containers):
    plain = [o for o in containers if type(o) in _PLAIN]
    children = gc.get_referents(*plain)
    if len(plain) < len(containers):
        # A subclass also refers to its type and attributes, which are not part of the result.
        for o in containers:
            if type(o) not in _PLAIN:
                children.extend(dict.keys(o) if isinstance(o, dict) else ())
                children.extend(dict.values(o) if isinstance(o, dict) else o)
    return children


def _convert(value, open_ids):
    """A copy of `value` with named tuples as dictionaries and bytes as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if not isinstance(value, _CONTAINERS):
        return value
    if id(value) in open_ids:
        raise ValueError("Circular reference detected")
    open_ids.add(id(value))
    items = value._asdict() if isinstance(value, tuple) and hasattr(value, "_asdict") else value
    if isinstance(items, dict):
        copy = {_convert(k, open_ids): _convert(v, open_ids) for k, v in items.items()}
    else:
        copy = [_convert(item, open_ids) for item in items]
    open_ids.discard(id(value))
    return copy
