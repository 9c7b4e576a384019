"""Private integrations over TLS: whom a server is asked to be, and who vouches for it."""

import json
import ssl
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError

from authority import Authority
from server import Server
from waiting import until


class Inner:
    """A server behind a link, with a certificate for one name, that keeps the names it was asked for."""

    def __init__(self, directory, authority, *hosts):
        inner, self.asked = self, []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = json.dumps({"host": self.headers["Host"], "path": self.path}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        certificate, key = authority.server(*hosts)
        (directory / "inner.crt").write_bytes(certificate)
        (directory / "inner.key").write_bytes(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "inner.crt", directory / "inner.key")
        context.sni_callback = lambda _, name, __: inner.asked.append(name)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory, authority = tmp_path_factory.mktemp("inner"), Authority()
    roots = directory / "roots"
    roots.mkdir()
    (roots / "own.pem").write_bytes(authority.pem)
    server = Server(arguments=["--integration-roots", str(roots)]).start()
    inner = Inner(directory, authority, "inner.example")
    yield server, inner
    assert server.stop() == 0, server.log()
    inner.server.shutdown()


class Api:
    def __init__(self, server):
        self.server, self.apis = server, server.client("apigatewayv2")
        self.id = self.apis.create_api(Name="private", ProtocolType="HTTP")["ApiId"]
        self.link = self.apis.create_vpc_link(Name="private", SubnetIds=["subnet-1"])["VpcLinkId"]
        self.apis.create_stage(ApiId=self.id, StageName="$default", AutoDeploy=True)

    def route(self, key, uri, **more):
        made = self.apis.create_integration(ApiId=self.id, IntegrationType="HTTP_PROXY", IntegrationMethod="GET", IntegrationUri=uri,
                                            ConnectionType="VPC_LINK", ConnectionId=self.link, PayloadFormatVersion="1.0", **more)
        self.apis.create_route(ApiId=self.id, RouteKey=f"GET {key}", Target=f"integrations/{made['IntegrationId']}")
        return made

    def status(self, path):
        try:
            with urllib.request.urlopen(f"{self.server.url}/_aws/execute-api/{self.id}/$default{path}", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def test_a_server_has_to_be_who_it_is_asked_to_be(world):
    server, inner = world
    api = Api(server)
    base = f"localhost:{inner.port}"
    named = {"ServerNameToVerify": "inner.example"}
    made = api.route("/named", f"https://{base}", TlsConfig=named)
    assert made["TlsConfig"] == named
    assert api.apis.get_integration(ApiId=api.id, IntegrationId=made["IntegrationId"])["TlsConfig"] == named
    api.route("/plain-uri", f"http://{base}", TlsConfig=named)
    api.route("/host", f"https://{base}")
    api.route("/other", f"https://{base}", TlsConfig={"ServerNameToVerify": "other.example"})
    status, said = until(lambda: (found := api.status("/named"))[0] != 404 and found)
    # The host of the request is the integration's; its name for TLS is the one that was asked for.
    assert (status, said) == (200, {"host": base, "path": "/named"}) and inner.asked[-1] == "inner.example"
    # With a TLS configuration a private integration speaks TLS whatever its URI says.
    assert api.status("/plain-uri") == (200, {"host": base, "path": "/plain-uri"})
    # A connection that was proved for one name serves no other.
    for path in ("/host", "/other"):
        assert api.status(path) == (503, {"message": "Service Unavailable"}), path
    assert {"localhost", "other.example"} <= set(inner.asked)
    changed = api.apis.update_integration(ApiId=api.id, IntegrationId=made["IntegrationId"], TlsConfig={"ServerNameToVerify": "wrong.example"})
    assert changed["TlsConfig"]["ServerNameToVerify"] == "wrong.example"
    assert api.status("/named")[0] == 503


def test_an_export_says_whom_to_ask_for(world):
    server, inner = world
    api = Api(server)
    api.route("/named", f"https://localhost:{inner.port}", TlsConfig={"ServerNameToVerify": "inner.example"})
    exported = json.loads(api.apis.export_api(ApiId=api.id, OutputType="JSON", Specification="OAS30")["body"].read())
    integration = exported["paths"]["/named"]["get"]["x-amazon-apigateway-integration"]
    assert integration["tlsConfig"] == {"serverNameToVerify": "inner.example"}
    imported = api.apis.import_api(Body=json.dumps(exported))["ApiId"]
    again, = api.apis.get_integrations(ApiId=imported)["Items"]
    assert again["TlsConfig"] == {"ServerNameToVerify": "inner.example"}


@pytest.mark.parametrize("more, text", [
    ({"TlsConfig": {"ServerNameToVerify": "not a name"}}, "serverNameToVerify"),
    ({"ConnectionType": "INTERNET", "ConnectionId": "", "TlsConfig": {"ServerNameToVerify": "inner.example"}}, "VPC_LINK"),
])
def test_tls_configurations_that_cannot_be(world, more, text):
    api = Api(world[0])
    integration = {"IntegrationType": "HTTP_PROXY", "IntegrationMethod": "GET", "IntegrationUri": "https://localhost:1",
                   "ConnectionType": "VPC_LINK", "ConnectionId": api.link, "PayloadFormatVersion": "1.0", **more}
    with pytest.raises(ClientError) as refused:
        api.apis.create_integration(ApiId=api.id, **{name: value for name, value in integration.items() if value != ""})
    error = refused.value.response["Error"]
    assert error["Code"] == "BadRequestException" and text in error["Message"], error


def test_a_server_that_nobody_vouches_for_is_not_believed(world, server):
    _, inner = world
    api = Api(server)
    api.route("/named", f"https://localhost:{inner.port}", TlsConfig={"ServerNameToVerify": "inner.example"})
    assert until(lambda: (found := api.status("/named"))[0] != 404 and found)[0] == 503
