"""The one command of the README: the example is deployed and its picture comes back."""

import subprocess

from server import BINARY


def test_the_demo_brings_the_picture_back(tmp_path):
    data = tmp_path / "data"
    done = subprocess.run(
        [str(BINARY), "demo", "--once", "--listen", "127.0.0.1:0", "--data-dir", str(data)],
        capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    pictures = list(data.rglob("watermarked*"))
    assert len(pictures) == 1 and pictures[0].read_bytes()[:3] == b"\xff\xd8\xff"
    for line in ("http://", "aws --endpoint-url", "curl"):
        assert line in done.stdout
