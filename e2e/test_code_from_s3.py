"""Code from S3: an S3-compatible server of the tests' own, which looks at what it is asked and signed with."""

import http.server
import shutil
import threading
import urllib.parse
import urllib.request

import pytest
from botocore.exceptions import ClientError

from packages import ROLE, create, package, package_of
from server import Server

CODE = package(app__py="def handler(event, context):\n    return 'from a bucket'\n")
OTHER = package(app__py="def handler(event, context):\n    return 'another version'\n")
OBJECTS = {("code", "a folder/one.zip", None): CODE, ("code", "one.zip", "v1"): CODE, ("code", "no.zip", None): b"no zip",
           ("versioned", "one.zip", None): CODE, ("versioned", "one.zip", "v7"): CODE, ("versioned", "one.zip", "v8"): OTHER}


class Bucket(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        _, bucket, key = urllib.parse.unquote(url.path).split("/", 2)
        version = urllib.parse.parse_qs(url.query).get("versionId", [None])[0]
        signed = "Credential=AKIDTEST/" in self.headers["Authorization"] and "/us-east-1/s3/aws4_request" in self.headers["Authorization"]
        body, status = OBJECTS.get((bucket, key, version)), 200
        if not signed or "x-amz-content-sha256" not in self.headers:
            body, status = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", 403
        elif body is None:
            code = ("NoSuchKey", "key") if bucket in ("code", "versioned") else ("NoSuchBucket", "bucket")
            status = 404
            body = f"<Error><Code>{code[0]}</Code><Message>The specified {code[1]} does not exist.</Message></Error>".encode()
        self.send_response(status)
        if bucket == "versioned":
            self.send_header("x-amz-version-id", version or "v7")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    buckets = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=buckets.serve_forever, daemon=True).start()
    config = tmp_path_factory.mktemp("config") / "gatemill.toml"
    config.write_text(f'[services.s3]\nendpoint = "http://127.0.0.1:{buckets.server_port}"\n'
                      'access-key-id = "AKIDTEST"\nsecret-access-key = "secret"\n')
    yield ["--config", str(config)]
    buckets.shutdown()


@pytest.fixture(scope="module")
def server(arguments):
    server = Server(arguments=arguments).start()
    yield server
    assert server.stop() == 0, server.log()


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_functions_and_layers_from_a_bucket(functions, python, name):
    made = dict(FunctionName=name, Runtime=python, Role=ROLE, Handler="app.handler")
    functions.create_function(**made, Code={"S3Bucket": "code", "S3Key": "a folder/one.zip"})
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert functions.invoke(FunctionName=name)["Payload"].read() == b'"from a bucket"'
    functions.update_function_code(FunctionName=name, S3Bucket="code", S3Key="one.zip", S3ObjectVersion="v1")
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    layer = functions.publish_layer_version(LayerName=name, Content={"S3Bucket": "code", "S3Key": "a folder/one.zip"})
    assert layer["Content"]["CodeSize"] == len(CODE)


def test_code_that_stays_in_its_bucket(arguments, python, name, monkeypatch):
    """REFERENCE: nothing is stored but what is unpacked, and that is got again where it is missing."""
    server = Server(arguments=arguments).start()
    functions = server.client("lambda")
    usage = lambda: functions.get_account_settings()["AccountUsage"]["TotalCodeSize"]
    place = {"S3Bucket": "versioned", "S3Key": "one.zip"}
    reference = {"S3ObjectStorageMode": "REFERENCE"}
    made = dict(FunctionName=name, Runtime=python, Role=ROLE, Handler="app.handler")
    code, message = refused(functions.create_function, **made, Code={"S3Bucket": "code", "S3Key": "a folder/one.zip", **reference})
    assert code == "InvalidParameterValueException" and "versioning" in message
    assert refused(functions.create_function, **made, Code={"ZipFile": CODE, **reference})[0] == "InvalidParameterValueException"
    answer = functions.create_function(**made, Code={**place, **reference}, Publish=True)
    assert answer["CodeSize"] == len(CODE) and usage() == 0
    functions.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    got = functions.get_function(FunctionName=name)["Code"]
    assert got["ResolvedS3Object"] == {**place, "S3ObjectVersion": "v7"}
    with urllib.request.urlopen(got["Location"], timeout=30) as answer:
        assert answer.read() == CODE
    ask = lambda **more: functions.invoke(FunctionName=name, **more)["Payload"].read()
    assert ask() == ask(Qualifier="1") == b'"from a bucket"'
    zips = [path for path in server.directory.rglob("*") if path.is_file() and path.read_bytes() == CODE]
    assert not zips, "the zip is stored nowhere"

    def forget():
        """What is unpacked is a cache: it may go at any time that the server does not run."""
        nonlocal functions
        assert server.stop() == 0, server.log()
        unpacked = {path.parent for path in server.directory.rglob("app.py")}
        assert unpacked
        for path in unpacked:
            shutil.rmtree(path)
        server.start()
        functions = server.client("lambda")
    forget()
    assert ask() == b'"from a bucket"', "it was got again"
    with monkeypatch.context() as gone:
        gone.delitem(OBJECTS, ("versioned", "one.zip", "v7"))
        assert ask() == b'"from a bucket"', "what is unpacked runs"
        forget()
        assert refused(functions.invoke, FunctionName=name)[0] == "CodeArtifactUserDeletedException"
        gone.setitem(OBJECTS, ("versioned", "one.zip", "v7"), OTHER)
        assert refused(functions.invoke, FunctionName=name)[0] == "CodeArtifactUserFailedException"
    assert ask() == b'"from a bucket"'
    # What an update does not say again is a copy.
    functions.update_function_code(FunctionName=name, **place, S3ObjectVersion="v8")
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert ask() == b'"another version"' and usage() == len(OTHER)
    assert "ResolvedS3Object" not in functions.get_function(FunctionName=name)["Code"]
    assert functions.get_function(FunctionName=name, Qualifier="1")["Code"]["ResolvedS3Object"]["S3ObjectVersion"] == "v7"
    functions.update_function_code(FunctionName=name, **place, S3ObjectVersion="v8", **reference)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert ask() == b'"another version"' and usage() == 0
    functions.delete_function(FunctionName=name)
    assert usage() == 0 and server.stop() == 0, server.log()


def test_layers_that_stay_in_their_bucket(arguments, python, name, monkeypatch):
    """As functions: shown, run alone and merged with another, counted as nothing stored, and got again where they are missing."""
    for version, module in (("l1", "first"), ("l2", "second")):
        monkeypatch.setitem(OBJECTS, ("versioned", "layer.zip", version), package_of({f"python/{module}.py": f"said = '{module}'\n"}))
    server = Server(arguments=arguments).start()
    functions = server.client("lambda")
    usage = lambda: functions.get_account_settings()["AccountUsage"]["TotalCodeSize"]

    def publish(version, **more):
        place = {"S3Bucket": "versioned", "S3Key": "layer.zip", "S3ObjectVersion": version}
        made = functions.publish_layer_version(LayerName=f"{name}-{version}", Content={**place, **more})
        return made, place
    layers = []
    for version in ("l1", "l2"):
        made, place = publish(version, S3ObjectStorageMode="REFERENCE")
        assert made["Content"]["ResolvedS3Object"] == place and usage() == 0
        got = functions.get_layer_version(LayerName=f"{name}-{version}", VersionNumber=1)
        assert got["Content"]["ResolvedS3Object"] == place and got["Content"]["CodeSize"] > 0
        with urllib.request.urlopen(got["Content"]["Location"], timeout=30) as answer:
            assert answer.read() == OBJECTS["versioned", "layer.zip", version]
        layers.append(made["LayerVersionArn"])
    copy, _ = publish("l1", S3ObjectStorageMode="COPY")
    assert "ResolvedS3Object" not in copy["Content"] and usage() == copy["Content"]["CodeSize"]
    functions.delete_layer_version(LayerName=f"{name}-l1", VersionNumber=2)
    assert usage() == 0
    code = package(app__py="import first, second\ndef handler(event, context):\n    return [first.said, second.said]\n")
    create(functions, name, code, python, Layers=layers)
    ask = lambda: functions.invoke(FunctionName=name)["Payload"].read()
    assert ask() == b'["first", "second"]'
    # The versions may go: what uses them runs on, from what stays in the bucket.
    for version in ("l1", "l2"):
        functions.delete_layer_version(LayerName=f"{name}-{version}", VersionNumber=1)
    assert server.stop() == 0, server.log()
    unpacked = {path.parent.parent for path in server.directory.rglob("first.py")} | {
        path.parent.parent for path in server.directory.rglob("second.py")}
    assert len(unpacked) == 3, "each, and both together"
    for path in unpacked:
        shutil.rmtree(path)
    server.start()
    functions = server.client("lambda")
    assert ask() == b'["first", "second"]', "they were got again"
    assert server.stop() == 0, server.log()


def test_what_is_not_there(functions, python, name):
    create(functions, name, CODE, python)
    invalid = "InvalidParameterValueException"
    update = functions.update_function_code
    began = "Error occurred while GetObject. S3 Error Code: "
    assert refused(update, FunctionName=name, S3Bucket="code", S3Key="absent") == (
        invalid, began + "NoSuchKey. S3 Error Message: The specified key does not exist.")
    assert refused(update, FunctionName=name, S3Bucket="absent", S3Key="x")[1].startswith(began + "NoSuchBucket.")
    assert refused(update, FunctionName=name, S3Bucket="code", S3Key="no.zip") == (
        invalid, "Could not unzip uploaded file. Please check your file, then try to upload again.")
    assert refused(update, FunctionName=name, S3Bucket="code")[0] == invalid
    assert refused(update, FunctionName=name, S3Bucket="code", S3Key="one.zip", ZipFile=CODE)[0] == invalid
