"""A chat: sets up its APIs, then answers for them until it is interrupted, and takes everything down again.

The page is a function behind an HTTP API. The chat itself is this program, an HTTP server that a WebSocket API stands in
front of: it hears of connections and messages by requests, keeps the connections in a file of its own (SQLite), and talks
to the browsers through `@connections`. Nothing in here knows that the APIs are not AWS's.
"""

import argparse
import io
import json
import pathlib
import sqlite3
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

HERE = pathlib.Path(__file__).resolve().parent
ROUTES = ("$connect", "$disconnect", "hello", "say")
TEXT_MAX = 2000


class Connections:
    """Who is there: one row a connection."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.database = sqlite3.connect(path, check_same_thread=False)
        self.write("CREATE TABLE IF NOT EXISTS connections (id TEXT PRIMARY KEY)")

    def write(self, statement, *values):
        with self.lock, self.database:
            return self.database.execute(statement, values).fetchall()

    def add(self, identifier):
        self.write("INSERT OR IGNORE INTO connections VALUES (?)", identifier)

    def remove(self, identifier):
        self.write("DELETE FROM connections WHERE id = ?", identifier)

    def all(self):
        return [row[0] for row in self.write("SELECT id FROM connections ORDER BY id")]


class Chat:
    """What happens on the connections."""

    def __init__(self, connections, management):
        self.connections, self.management = connections, management

    def happened(self, route, connection, body):
        if route == "$connect":
            self.connections.add(connection)
        elif route == "$disconnect":
            self.connections.remove(connection)
            self.tell({"people": len(self.connections.all())})
        elif route == "hello":
            self.tell({"people": len(self.connections.all())})
        elif route == "say":
            self.tell({"from": connection[:4], "text": str(json.loads(body).get("text", ""))[:TEXT_MAX]})

    def tell(self, message):
        for connection in self.connections.all():
            try:
                self.management.post_to_connection(ConnectionId=connection, Data=json.dumps(message).encode())
            except self.management.exceptions.GoneException:
                self.connections.remove(connection)
            except self.management.exceptions.LimitExceededException:
                # It does not read what it was sent before; the next message may reach it.
                pass


def server_of(chat):
    class Backend(BaseHTTPRequestHandler):
        """The requests of the WebSocket API: the route in the path, the connection in a header."""

        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chat.happened(self.path.strip("/"), self.headers["x-connection"], body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Backend)


def page_package():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("app.py", "page.html"):
            archive.write(HERE / "page" / name, name)
    return buffer.getvalue()


class Cloud:
    """What the chat needs of the cloud, made and taken down."""

    def __init__(self, endpoint, runtime):
        self.endpoint, self.runtime = endpoint, runtime
        self.apis, self.functions = self.client("apigatewayv2"), self.client("lambda")

    def client(self, service, path=""):
        return boto3.client(service, endpoint_url=self.endpoint + path, region_name="us-east-1",
                            aws_access_key_id="test", aws_secret_access_key="test")

    def make_live(self, backend):
        """The WebSocket API in front of this program; its id."""
        self.live = self.apis.create_api(
            Name="chat-live", ProtocolType="WEBSOCKET", RouteSelectionExpression="$request.body.action")["ApiId"]
        for route in ROUTES:
            integration = self.apis.create_integration(
                ApiId=self.live, IntegrationType="HTTP_PROXY", IntegrationMethod="POST", IntegrationUri=f"{backend}/{route}",
                RequestParameters={"integration.request.header.x-connection": "context.connectionId"})
            self.apis.create_route(ApiId=self.live, RouteKey=route, Target=f"integrations/{integration['IntegrationId']}")
        self.apis.create_stage(ApiId=self.live, StageName="live", AutoDeploy=True)
        return self.client("apigatewaymanagementapi", f"/_aws/execute-api/{self.live}/live")

    def make_page(self):
        """The page's function and the HTTP API in front of it; the address."""
        arn = self.functions.create_function(
            FunctionName="chat-page", Runtime=self.runtime, Handler="app.handler", Code={"ZipFile": page_package()},
            Role="arn:aws:iam::000000000000:role/chat", Environment={"Variables": {"LIVE_API": self.live}})["FunctionArn"]
        self.functions.get_waiter("function_active_v2").wait(FunctionName="chat-page", WaiterConfig={"Delay": 1})
        self.page = self.apis.create_api(Name="chat-page", ProtocolType="HTTP", Target=arn)
        self.functions.add_permission(
            FunctionName="chat-page", StatementId="api", Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:us-east-1:000000000000:{self.page['ApiId']}/*")
        return self.page["ApiEndpoint"] + "/"

    def take_down(self):
        """Removes what is there, also of a run that did not come to its end."""
        for api in self.apis.get_apis(MaxResults="500")["Items"]:
            if api["Name"] in ("chat-live", "chat-page"):
                self.apis.delete_api(ApiId=api["ApiId"])
        try:
            self.functions.delete_function(FunctionName="chat-page")
        except self.functions.exceptions.ResourceNotFoundException:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", default="http://127.0.0.1:4566", help="where Gatemill is")
    parser.add_argument("--runtime", default=f"python{sys.version_info.major}.{sys.version_info.minor}")
    parser.add_argument("--store", default="chat.sqlite3", help="the file that the connections are kept in")
    options = parser.parse_args()

    cloud = Cloud(options.endpoint, options.runtime)
    cloud.take_down()
    chat = Chat(Connections(options.store), None)
    server = server_of(chat)
    try:
        chat.management = cloud.make_live(f"http://127.0.0.1:{server.server_port}")
        print(f"The chat is at {cloud.make_page()}", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        cloud.take_down()


if __name__ == "__main__":
    main()
