"""The example `examples/chat`, as its README says, with two real browsers that talk to each other."""

import signal
import subprocess
import sys
import time

from browser import Browser
from server import REPOSITORY

CHAT = REPOSITORY / "examples/chat/chat.py"
SAY = """(() => { document.getElementById('text').value = %r; document.querySelector('button').click(); return true; })()"""
PEOPLE = "document.getElementById('people').textContent"
SAID = "[...document.querySelectorAll('#said li')].map((line) => line.lastChild.textContent).join('|')"


def until(browser, expression, value, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = browser.evaluate(expression)
        if seen == value:
            return
        time.sleep(0.05)
    raise AssertionError(f"{expression} is {seen!r} and not {value!r}")


def test_two_browsers_talk(server, python, apis, tmp_path):
    chat = subprocess.Popen(
        [sys.executable, str(CHAT), "--endpoint", server.url, "--runtime", python, "--store", str(tmp_path / "chat.sqlite3")],
        stdout=subprocess.PIPE, text=True,
        # Whoever started these tests may have had it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    browsers = []
    try:
        line = chat.stdout.readline()
        assert "The chat is at " in line
        address = line.split("The chat is at ")[1].strip()
        browsers.append(Browser(address))
        until(browsers[0], PEOPLE, "1 here")
        browsers.append(Browser(address))
        one, two = browsers
        until(one, PEOPLE, "2 here")
        until(two, PEOPLE, "2 here")
        assert one.evaluate(SAY % "hello, two")
        until(two, SAID, "hello, two")
        assert two.evaluate(SAY % "grüße & <b>more</b>")
        until(one, SAID, "hello, two|grüße & <b>more</b>")
        two.close()
        browsers.pop()
        until(one, PEOPLE, "1 here")
    finally:
        for browser in browsers:
            browser.close()
        chat.send_signal(signal.SIGINT)
        assert chat.wait(60) == 0
    assert apis.get_apis()["Items"] == []
