"""Code from S3: an S3-compatible server of the tests' own, which looks at what it is asked and signed with."""

import http.server
import threading
import urllib.parse

import pytest
from botocore.exceptions import ClientError

from packages import ROLE, create, package
from server import Server

CODE = package(app__py="def handler(event, context):\n    return 'from a bucket'\n")
OBJECTS = {("code", "a folder/one.zip", None): CODE, ("code", "one.zip", "v1"): CODE, ("code", "no.zip", None): b"no zip"}


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
            code = ("NoSuchKey", "key") if bucket == "code" else ("NoSuchBucket", "bucket")
            status = 404
            body = f"<Error><Code>{code[0]}</Code><Message>The specified {code[1]} does not exist.</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    buckets = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=buckets.serve_forever, daemon=True).start()
    config = tmp_path_factory.mktemp("config") / "gatemill.toml"
    config.write_text(f'[services.s3]\nendpoint = "http://127.0.0.1:{buckets.server_port}"\n'
                      'access-key-id = "AKIDTEST"\nsecret-access-key = "secret"\n')
    server = Server(arguments=["--config", str(config)]).start()
    yield server
    assert server.stop() == 0, server.log()
    buckets.shutdown()


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
