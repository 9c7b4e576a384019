"""Every waiter of boto3's client for Lambda ends: with what it waits for, and with an error where that cannot come."""

import botocore.session
import pytest
from botocore.exceptions import WaiterError

from packages import ROLE, package

CODE = package(app__py="def handler(event, context):\n    return event\n")
OTHER = package(app__py="def handler(event, context):\n    return [event]\n")
NAMES = botocore.session.get_session().get_waiter_model("lambda").waiter_names
QUICK = {"Delay": 1, "MaxAttempts": 60}


def made(functions, name, python):
    functions.create_function(FunctionName=name, Runtime=python, Role=ROLE, Handler="app.handler", Code={"ZipFile": CODE})


def updated(functions, name, python):
    made(functions, name, python)
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=QUICK)
    functions.update_function_code(FunctionName=name, ZipFile=OTHER)


def published(functions, name, python):
    updated(functions, name, python)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=QUICK)
    functions.publish_version(FunctionName=name)


# What is done before a waiter waits, and what it is asked besides the function's name.
BEFORE = {
    "FunctionActive": (made, {}), "FunctionActiveV2": (made, {}), "FunctionExists": (made, {}),
    "FunctionUpdated": (updated, {}), "FunctionUpdatedV2": (updated, {}),
    "PublishedVersionActive": (published, {"Qualifier": "1"}),
}


@pytest.mark.parametrize("waiter", NAMES)
def test_a_waiter_ends(functions, python, name, waiter):
    assert waiter in BEFORE, f"boto3 has a waiter {waiter}: say what it waits for"
    before, more = BEFORE[waiter]
    before(functions, name, python)
    functions.get_waiter(botocore.xform_name(waiter)).wait(FunctionName=name, WaiterConfig=QUICK, **more)
    state = functions.get_function_configuration(FunctionName=name, **more)
    assert state["State"] == "Active" or waiter == "FunctionExists", state


@pytest.mark.parametrize("waiter", NAMES)
def test_a_waiter_of_what_never_comes_ends_too(functions, name, waiter):
    """Of a function that does not exist: those that wait for a state say so at once, and one goes on for as long as it was told."""
    with pytest.raises(WaiterError) as caught:
        functions.get_waiter(botocore.xform_name(waiter)).wait(
            FunctionName=name, WaiterConfig={"Delay": 0, "MaxAttempts": 2}, **BEFORE[waiter][1])
    assert "Max attempts" in str(caught.value) or "ResourceNotFoundException" in str(caught.value)
