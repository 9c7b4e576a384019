"""AWS's SDK for Rust, unmodified: its waiters, paginators, event streams and error types, in a program of its own (`sdk-rust`)."""

import base64
import hashlib
import json
import pathlib

from packages import package
from subjects import BUILT, once, run

PROGRAM = pathlib.Path(__file__).resolve().parent / "sdk-rust"
CODE = package(app__py="""
def handler(event, context):
    if event.get("fail"):
        raise ValueError("no luck")
    return {"got": event}
""")


def program():
    """The program. What it depends on stays compiled beside it when the program changes."""
    def compile_sources(folder):
        target = BUILT / "sdk-rust-target"
        run("cargo", "build", "--quiet", "--locked", "--target-dir", target, cwd=PROGRAM)
        (folder / "sdk-rust").write_bytes((target / "debug/sdk-rust").read_bytes())
        (folder / "sdk-rust").chmod(0o755)

    inputs = {name: (PROGRAM / name).read_bytes() for name in ("Cargo.toml", "Cargo.lock", "src/main.rs")}
    return once("sdk-rust", inputs, compile_sources) / "sdk-rust"


def test_a_life_of_a_function(server, python, name, tmp_path):
    zip_file = tmp_path / "function.zip"
    zip_file.write_bytes(CODE)
    said = json.loads(run(program(), server.url, python, zip_file, name))
    sha = base64.b64encode(hashlib.sha256(CODE).digest()).decode()
    assert said["created"] == {
        "state": "Pending", "sha": sha, "active": "Active", "same": sha, "memory": 128, "timeout": 3,
        "architectures": ["x86_64"], "variables": {"COLOUR": "blue"},
    }
    failure = said["invoked"].pop("failure")
    assert (failure["errorMessage"], failure["errorType"]) == ("no luck", "ValueError")
    assert said["invoked"] == {
        "answer": {"got": {"n": 1}}, "status": 200, "version": "$LATEST", "log": True, "error": "Unhandled", "later": 202,
    }
    assert said["streamed"] == {"answer": {"got": {"n": 2}}, "complete": 1}
    assert said["versions"] == {
        "listed": ["$LATEST", "1", "2"], "alias": f"arn:aws:lambda:us-east-1:000000000000:function:{name}:live"}
    assert said["errors"] == {
        "missing": True, "message": "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody",
        "twice": True, "invalid": "ValidationException"}
    assert said["deleted"] == 204
