"""Fixtures: one server for a module of tests, clients for it, and the runtimes of this host."""

import uuid

import pytest

from server import Server, runtimes


# Files that take longest, longest first: were one of them begun last, a lane would have nothing to do beside it.
LONG = [
    "test_sdk_for_rust", "test_runtimes", "test_chaos", "test_durable", "test_images", "test_event_source_mappings",
    "test_lambda_details", "test_durability", "test_load", "test_event_loss", "test_events",
]


def pytest_collection_modifyitems(items):
    """Long files come first; the others stay as they are."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What the server logged is shown with a test that fails."""
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server):
        report.sections.append(("log of the server, its end", "\n".join(server.log().splitlines()[-40:])))
    return report


@pytest.fixture(scope="module")
def server():
    server = Server().start()
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(scope="session")
def installed():
    return runtimes()


@pytest.fixture(scope="session")
def python(installed):
    return next(name for name in installed if name.startswith("python"))


@pytest.fixture(scope="session")
def node(installed):
    return next(name for name in installed if name.startswith("nodejs"))


@pytest.fixture
def name():
    """A name that no other test uses."""
    return f"f-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def functions(server):
    return server.client("lambda")


@pytest.fixture(scope="module")
def apis(server):
    return server.client("apigatewayv2")


@pytest.fixture(scope="module")
def logs(server):
    return server.client("logs")
