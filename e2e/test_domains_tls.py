"""TLS at the front door: certificates by the host's name, renewed without a restart, and clients that show their own."""

import http.client
import http.server
import json
import re
import signal
import socket
import ssl
import subprocess
import threading

import boto3
import pytest
import websockets.sync.client
from botocore.exceptions import ClientError

from authority import Authority
from packages import create, package
from server import BINARY, Server
from waiting import until

CODE = package(app__py='''
def event(event, context):
    return event

def old(event, context):
    import json
    return {"statusCode": 200, "body": json.dumps(event)}

def echo(event, context):
    return {"statusCode": 200, "body": event.get("body") or ""}
''')
SPEAKS = "Gatemill speaks TLS at "


class Buckets(http.server.BaseHTTPRequestHandler):
    """An S3 of the tests' own."""

    objects = {}

    def do_GET(self):
        body = self.objects.get(self.path)
        self.send_response(404 if body is None else 200)
        body = body or b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Front:
    """A server that speaks TLS, the authority of its certificates, and the directory that they are in."""

    def __init__(self, directory, command="dev", arguments=()):
        self.directory, self.authority = directory, Authority()
        self.roots = directory / "roots.pem"
        self.roots.write_bytes(self.authority.pem)
        self.certificates = directory / "certificates"
        self.certificates.mkdir()
        self.put("default", "localhost", "127.0.0.1")
        folder = self.certificates / "shop.example"
        folder.mkdir()
        certificate, key = self.authority.server("shop.example", "*.shop.example")
        (folder / "fullchain.pem").write_bytes(certificate)
        (folder / "privkey.pem").write_bytes(key)
        self.server = Server(command=command, arguments=[
            "--tls-listen", "127.0.0.1:0", "--tls-certificates", str(self.certificates), *arguments])

    def put(self, name, *hosts):
        certificate, key = self.authority.server(*hosts)
        (self.certificates / f"{name}.crt").write_bytes(certificate)
        (self.certificates / f"{name}.key").write_bytes(key)

    def start(self):
        self.server.start()
        self.url = next(line for line in self.server.printed if line.startswith(SPEAKS)).removeprefix(SPEAKS)
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def context(self, client=None, protocols=("http/1.1",)):
        context = ssl.create_default_context(cafile=str(self.roots))
        context.set_alpn_protocols(list(protocols))
        if client:
            certificate, key = self.directory / "client.crt", self.directory / "client.key"
            certificate.write_bytes(client[0])
            key.write_bytes(client[1])
            context.load_cert_chain(certificate, key)
        return context

    def shake(self, sni, check=True, **more):
        """A connection; its certificate is checked for the name, or shown for whatever it is."""
        context = self.context(**more)
        context.check_hostname = check
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return context.wrap_socket(plain, server_hostname=sni)

    def names(self, sni):
        with self.shake(sni, check=False) as secured:
            return {name for kind, name in secured.getpeercert()["subjectAltName"] if kind == "DNS"}

    def get(self, sni, path="/", host=None, **more):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        connection.sock = self.shake(sni, **more)
        connection.request("GET", path, headers={"Host": host or sni})
        answer = connection.getresponse()
        answer.content = answer.read()
        connection.close()
        return answer.status, answer.content

    def plain(self, host, path="/"):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=40)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    buckets = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Buckets)
    threading.Thread(target=buckets.serve_forever, daemon=True).start()
    directory = tmp_path_factory.mktemp("tls")
    config = directory / "gatemill.toml"
    config.write_text(f'[services.s3]\nendpoint = "http://127.0.0.1:{buckets.server_port}"\n'
                      'access-key-id = "AKIDTEST"\nsecret-access-key = "secret"\n')
    front = Front(directory, arguments=["--config", str(config)]).start()
    yield front
    assert front.server.stop() == 0, front.server.log()
    buckets.shutdown()


@pytest.fixture(scope="module")
def server(front):
    return front.server


@pytest.fixture(scope="module")
def secure(front):
    """A client of the control plane, over TLS."""
    return boto3.client("apigatewayv2", endpoint_url=front.url, region_name="us-east-1", aws_access_key_id="test",
                        aws_secret_access_key="test", verify=str(front.roots))


@pytest.fixture(scope="module")
def api(front, secure, functions, python):
    """An API whose endpoint gives the event, in both formats."""
    made = secure.create_api(Name="tls", ProtocolType="HTTP")
    api = made["ApiId"]
    for path, handler, version in [("/", "event", "2.0"), ("/old", "old", "1.0")]:
        arn = create(functions, f"tls-{handler}", CODE, python, handler=f"app.{handler}")["FunctionArn"]
        functions.add_permission(FunctionName=arn, StatementId="api", Action="lambda:InvokeFunction",
                                 Principal="apigateway.amazonaws.com")
        integration = secure.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn,
                                                PayloadFormatVersion=version)["IntegrationId"]
        secure.create_route(ApiId=api, RouteKey=f"GET {path}", Target=f"integrations/{integration}")
    secure.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    assert made["ApiEndpoint"] == f"https://{api}.execute-api.localhost:{front.port}"
    return api


def domain(apis, api, name, **more):
    apis.create_domain_name(DomainName=name, **more)
    apis.create_api_mapping(DomainName=name, ApiId=api, Stage="$default")


def test_a_certificate_is_chosen_by_the_name_of_the_host(front):
    assert front.names("shop.example") == front.names("a.shop.example") == {"shop.example", "*.shop.example"}
    assert front.names("SHOP.example") == {"shop.example", "*.shop.example"}
    # A star is for one label; what nobody has, and who names no host, gets the default.
    assert front.names("a.b.shop.example") == front.names("other.example") == front.names(None) == {"localhost"}
    with front.shake("shop.example", protocols=["h2", "http/1.1"]) as secured:
        assert (secured.version(), secured.selected_alpn_protocol()) == ("TLSv1.3", "h2")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_1_2_is_the_least(front):
    def version(least, most):
        context = front.context()
        context.minimum_version, context.maximum_version = least, most
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        plain = socket.create_connection(("127.0.0.1", front.port), timeout=30)
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            return secured.version()

    assert version(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    # It is the server that says no.
    with pytest.raises(ssl.SSLError, match="ALERT"):
        version(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


def test_what_is_not_tls_is_hung_up_on(front):
    for words in [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(70_000), b"\x16"]:
        with socket.create_connection(("127.0.0.1", front.port), timeout=30) as plain:
            try:
                plain.sendall(words)
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(65536):
                    pass
            except OSError:
                # It was cut off in the middle: as good.
                pass
    assert front.get("localhost", "/_gatemill/health")[0] == 200


def test_apis_and_the_control_plane_over_tls(front, secure, api):
    host = f"{api}.execute-api.localhost"
    status, body = front.get("localhost", host=f"{host}:{front.port}")
    event = json.loads(body)
    assert (status, event["headers"]["x-forwarded-proto"]) == (200, "https")
    assert event["headers"]["x-forwarded-port"] == str(front.port)
    assert "authentication" not in event["requestContext"]
    curl = subprocess.run(
        ["curl", "-sS", "--http2", "--cacert", str(front.roots), "-w", "\n%{http_version}", "--connect-to",
         f"shop.example:443:127.0.0.1:{front.port}", "-H", f"Host: {host}", "https://shop.example/"],
        capture_output=True, text=True, check=True, timeout=60).stdout
    assert curl.endswith("\n2") and json.loads(curl[:-2])["requestContext"]["http"]["protocol"] == "HTTP/2.0"


def test_a_domain_has_the_certificate_that_covers_it(front, secure, api):
    arn = "arn:aws:acm:us-east-1:000000000000:certificate/"
    of_acm = arn + "9f0c7e6e-3d6a-4f7e-9f4e-0123456789ab"
    domain(secure, api, "shop.example", DomainNameConfigurations=[{"CertificateArn": of_acm}])
    shown = secure.get_domain_name(DomainName="shop.example")["DomainNameConfigurations"][0]
    assert (shown["CertificateArn"], shown["SecurityPolicy"]) == (of_acm, "TLS_1_2")
    assert "DomainNameStatusMessage" not in shown
    status, body = front.get("shop.example")
    assert (status, json.loads(body)["requestContext"]["domainName"]) == (200, "shop.example")

    # An ARN that ends with the name of a pair chooses it, where it covers the domain.
    front.put("second", "b.shop.example")
    until(lambda: front.names("b.shop.example") == {"b.shop.example"})
    configuration = [{"CertificateArn": arn + "shop.example"}]
    secure.create_domain_name(DomainName="b.shop.example", DomainNameConfigurations=configuration)
    assert front.names("b.shop.example") == {"shop.example", "*.shop.example"}
    with pytest.raises(ClientError) as refused:
        secure.create_domain_name(DomainName="else.example", DomainNameConfigurations=configuration)
    assert refused.value.response["Error"]["Code"] == "BadRequestException"
    uncovered = secure.create_domain_name(DomainName="else.example")["DomainNameConfigurations"][0]
    assert uncovered["DomainNameStatusMessage"] == "No certificate of this server covers else.example."


def test_a_renewed_certificate_needs_no_restart_and_a_broken_one_changes_nothing(front):
    def serial():
        with front.shake("renewed.example", check=False) as secured:
            return secured.getpeercert()["serialNumber"]

    front.put("renewed", "renewed.example")
    until(lambda: front.names("renewed.example") == {"renewed.example"})
    first, kept = serial(), front.shake("renewed.example")
    # Half of a renewal: a certificate that the key is not for.
    (front.certificates / "renewed.crt").write_bytes(front.authority.server("renewed.example")[0])
    until(lambda: "the one before stays in use" in front.server.log())
    assert serial() == first
    front.put("renewed", "renewed.example")
    until(lambda: serial() != first)
    # Who is connected stays so.
    kept.sendall(b"GET /_gatemill/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert kept.recv(12) == b"HTTP/1.1 200"
    kept.close()
    for end in ("crt", "key"):
        (front.certificates / f"renewed.{end}").unlink()
    until(lambda: front.names("renewed.example") == {"localhost"})


def test_websockets_over_tls(front, secure, functions, python, name):
    arn = create(functions, name, CODE, python, handler="app.echo")["FunctionArn"]
    functions.add_permission(FunctionName=arn, StatementId="api", Action="lambda:InvokeFunction",
                             Principal="apigateway.amazonaws.com")
    api = secure.create_api(Name=name, ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")["ApiId"]
    integration = secure.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn)["IntegrationId"]
    secure.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}",
                        RouteResponseSelectionExpression="$default")
    route = secure.get_routes(ApiId=api)["Items"][0]["RouteId"]
    secure.create_route_response(ApiId=api, RouteId=route, RouteResponseKey="$default")
    secure.create_stage(ApiId=api, StageName="dev", AutoDeploy=True)
    with websockets.sync.client.connect(
        f"wss://{api}.execute-api.localhost:{front.port}/dev", sock=socket.create_connection(("127.0.0.1", front.port)),
        ssl=front.context(), server_hostname="localhost", open_timeout=60,
    ) as connection:
        for size in (5, 20_000):
            connection.send("x" * size)
            assert connection.recv(timeout=60) == "x" * size


def test_clients_show_a_certificate_that_the_trust_store_knows(front, secure, api, logs):
    friends, strangers = Authority("Friends"), Authority("Strangers")
    Buckets.objects["/trust/stores/friends.pem?versionId=v1"] = friends.pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    store = {"TruststoreUri": "s3://trust/stores/friends.pem", "TruststoreVersion": "v1"}
    name = "known.shop.example"
    domain(secure, api, name, MutualTlsAuthentication=store)
    shown = secure.get_domain_name(DomainName=name)["MutualTlsAuthentication"]
    assert {**shown, "TruststoreWarnings": None} == {**store, "TruststoreWarnings": None}
    assert len(shown["TruststoreWarnings"]) == 1 and "Certificate 2" in shown["TruststoreWarnings"][0]
    group = "/api/known"
    logs.create_log_group(logGroupName=group)
    line = "$context.requestId $context.identity.clientCert.subjectDN|$context.identity.clientCert.serialNumber"
    secure.update_stage(ApiId=api, StageName="$default", AccessLogSettings={
        "DestinationArn": f"arn:aws:logs:us-east-1:000000000000:log-group:{group}", "Format": line})

    friend = friends.client(C="CH", O="Friends, Inc.", CN="one", serial=0xA10B)
    status, body = front.get(name, client=friend)
    certificate = json.loads(body)["requestContext"]["authentication"]["clientCert"]
    assert status == 200 and certificate["clientCertPem"] == friend[0].decode()
    assert certificate["subjectDN"] == "C=CH,O=Friends\\, Inc.,CN=one"
    assert certificate["issuerDN"] == "C=CH,O=Gatemill,CN=Friends"
    assert certificate["serialNumber"] == "a1:0b"
    assert all(re.fullmatch(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT", time) for time in certificate["validity"].values())
    assert json.loads(front.get(name, "/old", client=friend)[1])["requestContext"]["identity"]["clientCert"] == certificate
    until(lambda: any("CN=one|a1:0b" in event["message"] for event in
                      logs.filter_log_events(logGroupName=group)["events"]))

    for other in [None, strangers.client(CN="two"), friends.client(CN="late", days=-1)]:
        with pytest.raises((ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected)):
            front.get(name, client=other)
    # Neither another name in the handshake, nor no handshake at all, is a way around it; and what is asked over such a
    # connection of others is theirs.
    forbidden = (403, b'{"message":"Forbidden"}')
    assert front.get("shop.example", host=name) == forbidden
    assert front.get("shop.example", host=name, client=friend) == forbidden
    assert front.plain(name) == forbidden
    status, body = front.get(name, host=f"{api}.execute-api.localhost", client=friend)
    assert status == 200 and "authentication" not in json.loads(body)["requestContext"]
    secure.update_api(ApiId=api, DisableExecuteApiEndpoint=True)
    assert front.get(name, host=f"{api}.execute-api.localhost", client=friend)[0] == 404
    assert front.get(name, client=friend)[0] == 200
    secure.update_api(ApiId=api, DisableExecuteApiEndpoint=False)

    # Another store holds at once, also for who is connected; and without one everybody is let in.
    kept = http.client.HTTPConnection("127.0.0.1", front.port, timeout=40)
    kept.sock = front.shake(name, client=friend)
    kept.request("GET", "/", headers={"Host": name})
    assert kept.getresponse().read()
    Buckets.objects["/trust/stores/strangers.pem"] = strangers.pem
    other = {"TruststoreUri": "s3://trust/stores/strangers.pem"}
    assert secure.update_domain_name(DomainName=name, MutualTlsAuthentication=other)["MutualTlsAuthentication"] == other
    kept.request("GET", "/", headers={"Host": name})
    assert kept.getresponse().status == 403
    assert front.get(name, client=strangers.client(CN="two"))[0] == 200
    assert "MutualTlsAuthentication" not in secure.update_domain_name(
        DomainName=name, MutualTlsAuthentication={"TruststoreUri": ""})
    assert front.get(name)[0] == 200


def test_a_trust_store_that_cannot_be_read_is_refused(front, secure):
    Buckets.objects["/trust/empty.pem"] = b"nothing"
    for uri, reason in [("s3://trust/none.pem", "NoSuchKey"), ("s3://trust/empty.pem", "no certificate"),
                        ("https://trust/empty.pem", "s3://BUCKET/KEY"), ("s3://trust/../empty.pem", "s3://BUCKET/KEY")]:
        with pytest.raises(ClientError, match=reason) as refused:
            secure.create_domain_name(DomainName="refused.shop.example", MutualTlsAuthentication={"TruststoreUri": uri})
        assert refused.value.response["Error"]["Code"] == "BadRequestException"
    with pytest.raises(ClientError, match="Invalid domain name identifier"):
        secure.get_domain_name(DomainName="refused.shop.example")


def test_production_speaks_tls_through_a_restart_and_reads_trust_stores_from_files(tmp_path):
    front = Front(tmp_path, "serve", ["--tls-truststores", str(tmp_path / "stores")]).start()
    friends = Authority("Friends")
    (tmp_path / "stores" / "trust").mkdir(parents=True)
    (tmp_path / "stores" / "trust" / "friends.pem").write_bytes(friends.pem)
    # What it says after it is ready: the credentials.
    words = iter(front.server.process.stdout.readline, "")
    said = {}
    for line in words:
        word = line.split()
        if word[:3] == ["aws", "configure", "set"]:
            said[word[3]] = word[4]
        if "get-caller-identity" in line:
            break
    secure = boto3.client("apigatewayv2", endpoint_url=front.url, region_name="us-east-1", verify=str(front.roots),
                          aws_access_key_id=said["aws_access_key_id"], aws_secret_access_key=said["aws_secret_access_key"])
    store = {"TruststoreUri": "s3://trust/friends.pem"}
    secure.create_domain_name(DomainName="shop.example", MutualTlsAuthentication=store)
    front.server.process.send_signal(signal.SIGHUP)
    until(lambda: any(SPEAKS in line for line in iter(front.server.process.stdout.readline, "")))
    assert secure.get_domain_name(DomainName="shop.example")["MutualTlsAuthentication"] == store
    friend = friends.client(CN="one")
    # No mapping yet: it leads nowhere, but lets a friend in.
    assert front.get("shop.example", client=friend) == (403, b'{"message":"Forbidden"}')
    with pytest.raises((ssl.SSLError, ConnectionResetError, http.client.RemoteDisconnected)):
        front.get("shop.example")
    # Neither who rests nor who never finishes a handshake holds up a stop.
    with front.shake("localhost"), socket.create_connection(("127.0.0.1", front.port)):
        assert front.server.stop() == 0, front.server.log()
    assert "cut off" not in front.server.log()


def test_a_public_address_takes_tls(tmp_path):
    def refused(*arguments, command="serve"):
        line = [str(BINARY), command, "--data-dir", str(tmp_path / "data"), *arguments]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1, ended
        return ended.stderr

    (tmp_path / "empty").mkdir()
    certificates = ["--tls-certificates", str(tmp_path / "empty")]
    assert "--tls-listen" in refused("--listen", "0.0.0.0:0")
    assert "says nothing without tls-certificates" in refused("--tls-listen", "0.0.0.0:0")
    assert "has no certificate" in refused("--listen", "127.0.0.1:0", "--tls-listen", "0.0.0.0:0", *certificates)
    assert "any credentials" in refused("--tls-listen", "0.0.0.0:0", *certificates, command="dev")
    (tmp_path / "empty" / "a.crt").write_text("broken")
    (tmp_path / "empty" / "a.key").write_text("broken")
    assert "no certificate in PEM" in refused("--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0", *certificates)
