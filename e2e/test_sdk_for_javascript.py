"""The AWS SDK for JavaScript v3, whose checks are in sdk.mjs; here it gets a server."""

import os
import pathlib
import subprocess

import pytest

from packages import package

HERE = pathlib.Path(__file__).resolve().parent
MODULES = pathlib.Path(os.environ.get("GATEMILL_NODE_MODULES", HERE / "node_modules"))


def test_the_sdk_for_javascript(server, node, tmp_path):
    if not MODULES.is_dir():
        pytest.fail(f"{MODULES} is missing: `cargo xtask ci` installs it")
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "sdk.mjs").write_text((HERE / "sdk.mjs").read_text())
    (tmp_path / "function.zip").write_bytes(package(**{
        "app__mjs": "export const handler = async (event) => ({ hello: event.name ?? 'world' });\n"}))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ENDPOINT": server.url, "RUNTIME": node}
    done = subprocess.run(["node", "sdk.mjs"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all checks passed" in done.stdout
