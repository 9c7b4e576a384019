"""Functions that are container images: from a real registry and from OCI layouts, with AWS's clients inside."""

import base64
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import time

import pytest
from botocore.exceptions import ClientError

from images import ARCHITECTURE, INDEX, LOGIN, MANIFEST, Image, Registry, layer, libraries, python_tree
import packages
from packages import ROLE
from server import BINARY, Server
from test_runtime_api import awslambdaric, go_function  # noqa: F401 (fixtures)

# A runtime in a few lines, on the Runtime API: answers with what it sees of its sandbox.
SPY = '''
import http.client, json, os, sys
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event, id = json.loads(answer.read()), answer.headers["Lambda-Runtime-Aws-Request-Id"]
    def read(path):
        try:
            return open(path).read()
        except OSError as error:
            return error.strerror
    seen = {
        "argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "uid": os.getuid(),
        "top": sorted(os.listdir("/")), "files": {path: read(path) for path in event.get("read", [])},
    }
    print("seen by", id, flush=True)
    api.request("POST", f"/2018-06-01/runtime/invocation/{id}/response", json.dumps(seen))
    api.getresponse().read()
'''


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture(scope="session")
def python_layer():
    return python_tree()


@pytest.fixture(scope="module")
def base(python_layer):
    """Builds images of the Python layer, files over it, and a configuration."""
    def build(files=(), links=(), **config):
        config = {"Env": ["PATH=/usr/bin:/bin", "COLOUR=image"], "WorkingDir": "/app", **config}
        return Image([python_layer, layer({"app/spy.py": SPY, **dict(files)}, links)], **config)
    return build


def create(functions, name, uri, wait=True, **more):
    answer = functions.create_function(
        FunctionName=name, PackageType="Image", Role=ROLE, Code={"ImageUri": uri}, **{"Timeout": 20, "MemorySize": 512, **more})
    if wait:
        functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return answer


def updated(functions, name):
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def invoke(functions, name, event=None):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event or {}), LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.loads(answer["Payload"].read()), answer.get("FunctionError"), log


def refusal(call, *arguments, **more):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **more)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_image_from_a_registry(functions, name, registry, base, python_layer):
    image = base(Entrypoint=["python3", "spy.py"], Cmd=["app.handler", "more"])
    uri = registry.push("team/spy", "v1", image)
    created = create(functions, name, uri, Environment={"Variables": {"COLOUR": "function"}})
    assert created["State"] == "Pending" and created["PackageType"] == "Image" and created["CodeSize"] == 0
    assert "Runtime" not in created and "Handler" not in created and "RuntimeVersionConfig" not in created
    assert "ImageConfigResponse" not in created
    assert created["CodeSha256"] == image.digest.removeprefix("sha256:")
    found = functions.get_function(FunctionName=name)
    assert found["Code"] == {
        "RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": f"{registry.host}/team/spy@{image.digest}"}
    assert found["Configuration"]["LastUpdateStatus"] == "Successful"
    seen, error, log = invoke(functions, name, {"read": ["/etc/hosts", "/app/spy.py", "/etc/shadow", "/proc/1/environ"]})
    assert error is None, seen
    assert seen["argv"] == ["app.handler", "more"] and seen["cwd"] == "/app" and seen["uid"] == 993
    with tarfile.open(fileobj=io.BytesIO(python_layer)) as archive:
        of_python = {member.split("/")[0] for member in archive.getnames()}
    assert seen["top"] == sorted(of_python | {"app", "dev", "etc", "proc", "tmp"})
    wanted = {
        "COLOUR": "function", "_HANDLER": "app.handler", "AWS_EXECUTION_ENV": "AWS_Lambda_Image", "PATH": "/usr/bin:/bin",
        "AWS_LAMBDA_FUNCTION_NAME": name, "LAMBDA_TASK_ROOT": "/var/task", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
    }
    assert wanted.items() <= seen["env"].items() and seen["env"]["AWS_LAMBDA_RUNTIME_API"]
    assert "localhost" in seen["files"]["/etc/hosts"] and seen["files"]["/app/spy.py"] == SPY
    assert seen["files"]["/etc/shadow"] == "No such file or directory"
    assert seen["files"]["/proc/1/environ"] in ("Permission denied", "No such file or directory")
    assert "seen by" in log and "REPORT RequestId" in log


def test_image_config(functions, name, registry, base):
    uri = registry.push("team/config", "v1", base({"app/other/x": ""}, Entrypoint=["python3", "none.py"], Cmd=["one"]))
    config = {"EntryPoint": ["/usr/bin/python3", "/app/spy.py"], "Command": ["two", "three"], "WorkingDirectory": "/app/other"}
    created = create(functions, name, uri, ImageConfig=config)
    assert created["ImageConfigResponse"] == {"ImageConfig": config}
    seen, error, _ = invoke(functions, name)
    assert (seen["argv"], seen["cwd"], seen["env"]["_HANDLER"], error) == (["two", "three"], "/app/other", "two", None)
    # It is replaced as a whole; what it does not say is the image's again.
    functions.update_function_configuration(FunctionName=name, ImageConfig={"EntryPoint": ["python3", "spy.py"]})
    updated(functions, name)
    seen, _, _ = invoke(functions, name)
    assert (seen["argv"], seen["cwd"]) == (["one"], "/app")
    functions.update_function_configuration(FunctionName=name, ImageConfig={}, Description="no config")
    updated(functions, name)
    assert "ImageConfigResponse" not in functions.get_function_configuration(FunctionName=name)
    answer, error, _ = invoke(functions, name)
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")


def test_a_tag_that_moves_changes_nothing_until_an_update(functions, name, registry, base):
    build = lambda text: base({"app/which": text}, Entrypoint=["python3", "spy.py"])
    first, second = build("first"), build("second")
    uri = registry.push("team/moves", "live", first)
    create(functions, name, uri)
    which = lambda: invoke(functions, name, {"read": ["/app/which"]})[0]["files"]["/app/which"]
    assert which() == "first"
    assert registry.push("team/moves", "live", second) == uri
    functions.update_function_configuration(FunctionName=name, MemorySize=600)
    updated(functions, name)
    assert which() == "first"
    would_be = functions.update_function_code(FunctionName=name, ImageUri=uri, DryRun=True)
    assert would_be["CodeSha256"] == second.digest.removeprefix("sha256:") and which() == "first"
    functions.update_function_code(FunctionName=name, ImageUri=uri, Publish=True)
    updated(functions, name)
    assert which() == "second"
    assert functions.get_function(FunctionName=name)["Code"]["ResolvedImageUri"].endswith(second.digest)
    # The version is of the image, too.
    functions.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    answer = functions.invoke(FunctionName=name, Qualifier="1", Payload=json.dumps({"read": ["/app/which"]}))
    assert json.loads(answer["Payload"].read())["files"] == {"/app/which": "second"}
    by_digest = f"{registry.host}/team/moves@{first.digest}"
    functions.update_function_code(FunctionName=name, ImageUri=by_digest)
    updated(functions, name)
    assert which() == "first"


def test_an_index_of_platforms(functions, name, registry, base):
    image = base(Entrypoint=["python3", "spy.py"])
    other = Image([layer({"x": ""})], architecture="s390x")
    registry.push("team/index", "other", other)
    registry.push("team/index", "this", image)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        other.descriptor(platform={"os": "linux", "architecture": "s390x"}),
        image.descriptor(platform={"os": "linux", "architecture": ARCHITECTURE}),
    ]}
    registry.put_manifest("team/index", "all", json.dumps(index).encode(), INDEX)
    created = create(functions, name, f"{registry.host}/team/index:all")
    assert created["CodeSha256"] == image.digest.removeprefix("sha256:")
    assert invoke(functions, name)[1] is None


def test_go_in_an_image_of_one_file(functions, name, registry, go_function):  # noqa: F811
    uri = registry.push("team/go", "1", Image([layer({"main": go_function})], Entrypoint=["/main"]))
    create(functions, name, uri)
    assert invoke(functions, name, {"do": "echo", "value": {"a": [1]}})[:2] == ({"a": [1]}, None)
    assert invoke(functions, name, {"do": "environment"})[0]["AWS_EXECUTION_ENV"] == "AWS_Lambda_Image"


def test_python_with_awslambdaric_and_an_entrypoint_as_in_the_base_images(functions, name, registry, base, awslambdaric, tmp_path):  # noqa: F811
    files = {f"opt/client/{path}": content for path, content in awslambdaric.items()}
    modules = [content for path, content in awslambdaric.items() if path.endswith(".so")]
    for number, module in enumerate(modules):
        (tmp_path / f"{number}.so").write_bytes(module)
    files |= libraries(map(str, tmp_path.glob("*.so")))
    files["app/app.py"] = "def handler(event, context):\n    return {'echo': event, 'arn': context.invoked_function_arn}\n"
    files["lambda-entrypoint.py"] = (
        '#!/usr/bin/python3\nimport os, sys\nassert os.environ["AWS_LAMBDA_RUNTIME_API"]\n'
        'os.execv("/usr/bin/python3", ["python3", "-m", "awslambdaric", sys.argv[1]])\n')
    env = ["PATH=/usr/bin", "PYTHONPATH=/opt/client:/app"]
    uri = registry.push("team/ric", "1", base(files, Entrypoint=["/lambda-entrypoint.py"], Cmd=["app.handler"], Env=env))
    created = create(functions, name, uri)
    answer, error, log = invoke(functions, name, {"a": 1})
    assert (answer, error) == ({"echo": {"a": 1}, "arn": created["FunctionArn"]}, None), log


@pytest.mark.parametrize("config, kind, problem", [
    ({"Entrypoint": ["nothing"]}, "Runtime.InvalidEntrypoint", 'exec: "nothing": executable file not found in $PATH'),
    ({"Entrypoint": ["/app/nothing"]}, "Runtime.InvalidEntrypoint", "fork/exec /app/nothing: no such file or directory"),
    ({"Entrypoint": ["./text"]}, "Runtime.InvalidEntrypoint", "fork/exec /app/text: exec format error"),
    ({"Entrypoint": ["/etc/hosts"]}, "Runtime.InvalidEntrypoint", "fork/exec /etc/hosts: permission denied"),
    ({}, "Runtime.InvalidEntrypoint", "exec: no command"),
    ({"Entrypoint": ["python3"], "WorkingDir": "/none"}, "Runtime.InvalidWorkingDir", "chdir /none: no such file or directory"),
])
def test_what_does_not_start(functions, name, registry, base, config, kind, problem):
    create(functions, name, registry.push("team/bad", name, base({"app/text": "no program"}, **config)))
    answer, error, _ = invoke(functions, name)
    assert (answer["errorType"], error) == (kind, "Unhandled")
    assert answer["errorMessage"].endswith(f"Error: {problem}")


def test_what_is_no_image(functions, name, registry):
    image = Image([layer({"x": ""})])
    uri = registry.push("team/good", "1", image)
    host = registry.host
    cases = {
        "fn": "Source image fn is not valid. Provide a valid source image.",
        f"{host}/team/good": f"Source image {host}/team/good is not valid. Provide a valid source image.",
        f"{host}/team/good:2": f"Source image {host}/team/good:2 does not exist. Provide a valid source image.",
        f"{host}/none:1": f"Source image {host}/none:1 does not exist. Provide a valid source image.",
        "127.0.0.1:1/none:1": "Source image 127.0.0.1:1/none:1 cannot be reached. Provide a valid source image.",
    }
    for bad, text in cases.items():
        assert refusal(create, functions, name, bad, wait=False) == ("InvalidParameterValueException", text)
    strange = json.loads(image.manifest)
    strange["layers"][0]["mediaType"] = "application/x-strange"
    registry.put_manifest("team/good", "strange", json.dumps(strange).encode(), MANIFEST)
    assert refusal(create, functions, name, f"{host}/team/good:strange", wait=False) == (
        "InvalidParameterValueException",
        f"The image manifest, config or layer media type for the source image {host}/team/good:strange is not supported.")
    create(functions, name, uri)
    assert refusal(create, functions, name, uri, wait=False)[0] == "ResourceConflictException"
    assert refusal(functions.update_function_code, FunctionName=name, ZipFile=b"x") == (
        "InvalidParameterValueException", "Please provide ImageUri when updating a function with packageType Image.")
    assert refusal(functions.update_function_configuration, FunctionName=name, Runtime="python3.12")[0] == "InvalidParameterValueException"
    text = "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
    assert refusal(create, functions, f"{name}-2", uri, wait=False, Handler="a.b") == ("InvalidParameterValueException", text)


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, b"x" * info.size


@pytest.mark.parametrize("image, reason", [
    (lambda: Image([layer({"../../escape": "x"})]), "leads out of the image"),
    (lambda: Image([layer(add=[member("h", type=tarfile.LNKTYPE, linkname="../../../../etc/passwd")])]), "leads out of the image"),
    (lambda: Image([layer(add=[member("h", type=tarfile.LNKTYPE, linkname="/etc/passwd")])]), "not there"),
    (lambda: Image([layer({"x": ""})], compress=lambda tar: b"no gzip"), "cannot be decompressed"),
    (lambda: Image([layer({"x": ""})], architecture="s390x"), "another architecture"),
], ids=["dots", "hard-dots", "hard-absolute", "no-gzip", "architecture"])
def test_images_that_fail(server, functions, name, registry, image, reason):
    create(functions, name, registry.push("team/hostile", name, image()), wait=False)
    for _ in range(100):
        found = functions.get_function_configuration(FunctionName=name)
        if found["State"] != "Pending":
            break
        time.sleep(0.1)
    assert (found["State"], found["StateReasonCode"]) == ("Failed", "InvalidImage")
    assert reason in found["StateReason"]
    trees = server.directory / "data/images"
    assert not list((trees / "partial").iterdir()) and not (server.directory / "data/escape").exists()


def test_links_out_of_the_image_lead_into_it(server, functions, name, registry, base):
    outside = str(server.directory / "data")
    image = base({"loop/owned": "by the image"}, {"loop/out": outside, "loop/up": "../../../../../.."},
                 Entrypoint=["python3", "spy.py"])
    create(functions, name, registry.push("team/links", "1", image))
    seen, error, _ = invoke(functions, name, {"read": ["/loop/owned", "/loop/out/store", "/loop/up/etc/shadow", "/loop/up/loop/owned"]})
    assert error is None
    assert seen["files"] == {
        "/loop/owned": "by the image", "/loop/out/store": "No such file or directory",
        "/loop/up/etc/shadow": "No such file or directory", "/loop/up/loop/owned": "by the image"}


def test_a_registry_with_a_password(tmp_path, base):
    registry = Registry(tmp_path, login=True)
    login = tmp_path / "config.json"
    login.write_text('{"auths": {}}')
    server = Server(tmp_path, arguments=["--image-credentials", str(login)]).start()
    try:
        functions = server.client("lambda")
        uri = registry.push("closed/spy", "1", base(Entrypoint=["python3", "spy.py"]))
        assert refusal(create, functions, "closed", uri, wait=False) == (
            "AccessDeniedException", "Lambda does not have permission to access the ECR image. Check the ECR permissions.")
        # The file is read anew: no restart.
        login.write_text(json.dumps({"auths": {registry.host: {"auth": LOGIN}}}))
        create(functions, "closed", uri)
        assert invoke(functions, "closed")[1] is None
    finally:
        server.stop()
        registry.stop()


def test_layouts_and_what_survives(tmp_path, base):
    base(Entrypoint=["python3", "spy.py"]).write_layout(tmp_path / "layouts/team/spy", "v1")
    arguments = ["--image-layouts", str(tmp_path / "layouts"), "--image-registry", "registry.example.com"]
    server = Server(tmp_path, arguments=arguments).start()
    functions = server.client("lambda")
    other = refusal(create, functions, "other", "localhost:1/x:1", wait=False)
    assert other[0] == "InvalidParameterValueException" and "not allowed by the settings" in other[1]
    assert "does not exist" in refusal(create, functions, "other", "oci-layout:team/spy:v2", wait=False)[1]
    create(functions, "kept", "oci-layout:team/spy:v1")
    assert invoke(functions, "kept")[1] is None
    # Killed and started again without the layout: the image is on the disk.
    server.kill()
    os.rename(tmp_path / "layouts", tmp_path / "gone")
    server.start()
    functions = server.client("lambda")
    assert invoke(functions, "kept")[1] is None
    trees = tmp_path / "data/images/images"
    assert len(list(trees.iterdir())) == 1
    server.reset()
    assert not list(trees.iterdir())
    assert server.stop() == 0


def test_killed_while_it_pulls(tmp_path, base, registry):
    uri = registry.push("team/killed", "1", base({"app/large": os.urandom(30_000_000)}, Entrypoint=["python3", "spy.py"]))
    server = Server(tmp_path).start()
    images = tmp_path / "data/images"
    for _ in range(3):
        functions = server.client("lambda")
        if _ == 0:
            create(functions, "killed", uri, wait=False)
        for _ in range(200):
            if list((images / "partial").iterdir()) or list((images / "images").iterdir()):
                break
            time.sleep(0.01)
        server.kill()
        server.start()
    functions = server.client("lambda")
    functions.get_waiter("function_active_v2").wait(FunctionName="killed", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert invoke(functions, "killed")[1] is None
    assert not list((images / "partial").iterdir())
    assert server.stop() == 0


@pytest.mark.parametrize("place", ["registry", "layout"])
def test_a_runtime_from_an_image(tmp_path, registry, place):
    # Of the system, because that one is where an image has its interpreter.
    image = Image([python_tree("/usr/bin/python3"), layer({"etc/marker": "not the interpreter's"})])
    if place == "registry":
        source = "oci:" + registry.push("python", "3.14", image)
    else:
        image.write_layout(tmp_path / "python", "3.14")
        source = f"oci-layout:{tmp_path}/python:3.14"
    data = tmp_path / "data"

    def gatemill(*words):
        done = subprocess.run([BINARY, "runtime", *words, "--data-dir", data], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    status, said = gatemill("add", "python3.14", source)
    assert status == 0 and said.startswith("Added python3.14."), said
    listed = {one["name"]: one for one in json.loads(gatemill("list", "--format", "json")[1])}
    program = pathlib.Path(listed["python3.14"]["program"])
    assert program.is_relative_to(data)
    # Of the image, the interpreter's folder alone is kept.
    assert not list(data.glob("runtimes/image-*")) and not list(data.rglob("marker"))

    server = Server(tmp_path).start()
    functions = server.client("lambda")
    code = "import sys\ndef handler(event, context):\n    return [sys.executable, event]\n"
    packages.create(functions, "added", packages.package(app__py=code), "python3.14")
    answer = json.loads(functions.invoke(FunctionName="added", Payload=b"7")["Payload"].read())
    assert answer == [f"/var/lang/bin/{program.name}", 7]
    assert server.stop() == 0, server.log()

    for wrong, reason in [
        (source + "-absent", "the image .* cannot be used"), ("oci:nowhere", "oci:nowhere is no image"),
    ]:
        status, said = gatemill("add", "python3.13", wrong)
        assert status != 0 and re.search(reason, said), said
    assert not list(data.glob("runtimes/image-*"))
