"""Other AWS-compatible services for a test: moto's server on the loopback, and the configuration that names it."""

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3

ACCOUNT = "123456789012"
REGION = "us-east-1"


class Services:
    """One process with every service; each test names its own queues and buckets."""

    def __init__(self):
        self.log = tempfile.NamedTemporaryFile(prefix="gatemill-moto-", suffix=".log", mode="w+", delete=False)
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"],
            stdout=self.log, stderr=subprocess.STDOUT,
        )
        self.url = self.address()

    def address(self):
        """The address that it printed: it picks a port itself."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in pathlib.Path(self.log.name).read_text().splitlines():
                if "Running on http://127.0.0.1:" in line:
                    return line.split("Running on ")[1].split()[0]
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        raise AssertionError(pathlib.Path(self.log.name).read_text())

    def client(self, service):
        return boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"
        )

    def configuration(self, *services):
        """A configuration file with these services, and the arguments that name it."""
        path = pathlib.Path(tempfile.mkdtemp(prefix="gatemill-e2e-")) / "gatemill.toml"
        table = '[services.{}]\nendpoint = "{}"\naccess-key-id = "AKID"\nsecret-access-key = "secret"\n'
        path.write_text("".join(table.format(service, self.url) for service in services))
        return ["--config", str(path)]

    def stop(self):
        self.process.kill()
        self.process.wait(30)

    def alive(self):
        with urllib.request.urlopen(self.url + "/moto-api/", timeout=30) as answer:
            return answer.status == 200
