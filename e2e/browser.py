"""A headless Chromium, driven by the DevTools protocol over the WebSocket client of the tests."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

import websockets.sync.client

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One browser with a profile of its own, at one page."""

    def __init__(self, url):
        program = next((found for found in map(shutil.which, PROGRAMS) if found), None)
        assert program, f"one of {PROGRAMS} is missing: `cargo xtask ci` installs it"
        self.profile = pathlib.Path(tempfile.mkdtemp(prefix="gatemill-e2e-browser-"))
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", "--disable-extensions", "--remote-debugging-port=0",
                     f"--user-data-dir={self.profile}", "--remote-allow-origins=*", url]
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        self.number = 0
        self.page = websockets.sync.client.connect(self.address(), max_size=None, compression=None)
        self.page.__enter__()

    def address(self):
        """The page's address in the protocol, once the browser has one."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the browser ended"
            try:
                port = (self.profile / "DevToolsActivePort").read_text().split()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
                    pages = [target for target in json.load(answer) if target["type"] == "page"]
                if pages:
                    return pages[0]["webSocketDebuggerUrl"]
            except (OSError, IndexError):
                pass
            time.sleep(0.05)
        raise AssertionError("the browser has no page")

    def evaluate(self, expression):
        """The value of an expression in the page."""
        self.number += 1
        self.page.send(json.dumps({"id": self.number, "method": "Runtime.evaluate",
                                   "params": {"expression": expression, "returnByValue": True}}))
        while True:
            answer = json.loads(self.page.recv(timeout=60))
            if answer.get("id") == self.number:
                return answer["result"]["result"].get("value")

    def close(self):
        """Ends the browser with all its processes, as a crash would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        shutil.rmtree(self.profile, ignore_errors=True)
