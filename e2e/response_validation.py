"""Response validation: every answer that boto3 gets is held against the service model that boto3 ships.

boto3 itself takes what comes: an unknown member is dropped in silence, a wrong type becomes a wrong value. Here a member
that the model does not name, a value of another type, a string outside its enum and a required member that is absent are
errors. Streamed bodies and event streams are not looked at, nor are error answers, whose shape the tests check one by one.
"""

import json
import re

# What AWS answers although its model does not have it.
BEYOND_THE_MODEL = {("LastUpdateStatusReasonCode", "Creating")}
# Operations whose recorded answers leave out members that the model requires.
MEMBERS_LEFT_OUT = {"GetFunctionCodeSigningConfig"}


def watch(client):
    """Checks every answer that this client gets from now on."""
    client.meta.events.register("after-call", check)
    return client


def check(http_response, model, **_):
    """The handler of boto3's `after-call`."""
    shape = model.output_shape
    if http_response.status_code >= 300 or model.has_streaming_output or model.has_event_stream_output or shape is None:
        return
    if model.service_model.metadata["protocol"] not in ("rest-json", "json"):
        return
    in_body = {
        member.serialization.get("name", name): member
        for name, member in shape.members.items()
        if "location" not in member.serialization
    }
    if not in_body and not http_response.content:
        return
    body = json.loads(http_response.content)
    needed = [] if model.name in MEMBERS_LEFT_OUT else required(shape)
    faults = list(structure(model.name, body, in_body, needed))
    assert not faults, "; ".join(faults)


def required(shape):
    """The required members' names on the wire."""
    members = ((name, shape.members[name].serialization) for name in shape.required_members)
    return [where.get("name", name) for name, where in members if "location" not in where]


def structure(path, value, members, needed):
    if not isinstance(value, dict):
        yield f"{path} is no object: {value!r}"
        return
    yield from (f"{path}.{name} is absent" for name in needed if name not in value)
    for name, inner in value.items():
        if name not in members:
            yield f"{path}.{name} is not in the model"
        else:
            yield from faults_of(f"{path}.{name}", inner, members[name])


def faults_of(path, value, shape):
    kind = shape.type_name
    if kind == "structure":
        members = {m.serialization.get("name", name): m for name, m in shape.members.items()}
        yield from structure(path, value, members, required(shape))
    elif kind == "list":
        if not isinstance(value, list):
            yield f"{path} is no list: {value!r}"
            return
        for n, inner in enumerate(value):
            yield from faults_of(f"{path}[{n}]", inner, shape.member)
    elif kind == "map":
        if not isinstance(value, dict):
            yield f"{path} is no map: {value!r}"
            return
        for name, inner in value.items():
            yield from faults_of(f"{path}[{name!r}]", inner, shape.value)
    elif not fits(value, shape):
        yield f"{path} is no {kind}: {value!r}"


def fits(value, shape):
    kind = shape.type_name
    if kind == "string":
        return isinstance(value, str) and (not shape.enum or value in shape.enum or (shape.name, value) in BEYOND_THE_MODEL)
    if kind in ("integer", "long"):
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in ("float", "double"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "timestamp":
        if shape.serialization.get("timestampFormat") == "iso8601":
            return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value)
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "blob":
        return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", value)
    return False
