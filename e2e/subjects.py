"""The function that every runtime of the tests has: its sources are in `functions`, one folder a language.

What has to be compiled is compiled once for a content, into `target/ci/subjects`.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from packages import package_of
from server import REPOSITORY, runtime_directories

FUNCTIONS = pathlib.Path(__file__).resolve().parent / "functions"
GO = FUNCTIONS.parent / "go"
BUILT = REPOSITORY / "target/ci/subjects"

# Version and name of the library in which AWS publishes the interface of Java handlers.
JAVA_CORE = ("1.4.0", "aws-lambda-java-core")


@dataclasses.dataclass(frozen=True)
class Subject:
    """How a language's function is made, and what of its answers is its own."""

    handler: str
    memory: int
    error_type: str
    # How an error object names the stack, if it has one.
    stack: str | None
    build: object
    # What it is created with, where AWS's client is part of the package; whether that client logs errors.
    runtime: str | None = None
    logs_errors: bool = True
    # The handler that streams its answer, where the language has that.
    streams: str | None = None

    def code(self):
        return self.build()


def family(runtime):
    """The language of a runtime identifier."""
    return re.match(r"[a-z]+", runtime).group(0)


def sources(language):
    folder = FUNCTIONS / language
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def once(name, inputs, make):
    """The folder that `make(folder)` fills, kept as long as the inputs stay the same."""
    digest = hashlib.sha256(repr(sorted(inputs.items())).encode()).hexdigest()[:16]
    folder = BUILT / f"{name}-{digest}"
    if not folder.is_dir():
        fresh = BUILT / f".new-{name}-{digest}"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        make(fresh)
        fresh.rename(folder)
    return folder


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def java_core():
    """The jar from Maven Central."""
    version, name = JAVA_CORE

    def fetch(folder):
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
        run("mvn", "-q", "-B", plugin, f"-Dartifact=com.amazonaws:{name}:{version}", f"-DoutputDirectory={folder}")

    return once(name, {"version": version}, fetch) / f"{name}-{version}.jar"


def java_classes():
    def compile_sources(folder):
        files = sorted((FUNCTIONS / "java").rglob("*.java"))
        run("javac", "--release", "8", "-Xlint:-options", "-cp", java_core(), "-d", folder, *files)

    return files_of(once("java", sources("java"), compile_sources))


def java(with_core=True):
    """The classes, with the library as a function brings it, or without where the runtime's has to do."""
    core, classes = java_core(), java_classes()
    return package_of({**classes, f"lib/{core.name}": core.read_bytes()} if with_core else classes)


def dotnet():
    """The function's assembly and its Amazon.Lambda.Core, compiled by Mono against the library of the .NET that runs them."""

    def compile_sources(folder):
        framework = next(runtime_directories()[0].glob("shared/Microsoft.NETCore.App/*"))
        libraries = [library for library in framework.glob("System.*.dll") if "WindowsRuntime" not in library.name]
        options = ["-nostdlib", "-noconfig", "-target:library", *(f"-r:{library}" for library in libraries),
                   f"-r:{framework / 'netstandard.dll'}"]
        core, subject = folder / "Amazon.Lambda.Core.dll", folder / "Subject.dll"
        run("mcs", *options, f"-out:{core}", FUNCTIONS / "dotnet/LambdaCore.cs")
        run("mcs", *options, f"-r:{core}", f"-out:{subject}", FUNCTIONS / "dotnet/Subject.cs")
        options[options.index("-target:library")] = "-target:exe"
        run("mcs", *options, f"-out:{folder / 'Executable.dll'}", FUNCTIONS / "dotnet/Executable.cs")

    return package_of(files_of(once("dotnet", sources("dotnet"), compile_sources)))


def java_libraries():
    """AWS's libraries for Java and what they need, from Maven Central: jars by the beginnings of their names."""
    folder = FUNCTIONS / "java-libraries"

    def fetch(to):
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
        run("mvn", "-q", "-B", plugin, f"-DoutputDirectory={to}", "-f", folder / "pom.xml")

    jars = files_of(once("java-libraries", sources("java-libraries"), fetch))
    return {f"lib/{name}": content for name, content in jars.items()}


def java_events():
    """A function of AWS's types of events, with the libraries in the package."""
    libraries = java_libraries()

    def compile_sources(folder):
        for name, content in libraries.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        files = sorted((FUNCTIONS / "java-events").rglob("*.java"))
        run("javac", "--release", "8", "-Xlint:-options", "-cp", f"{folder}/lib/*", "-d", folder, *files)

    return package_of(files_of(once("java-events", {**sources("java-events"), **sources("java-libraries")}, compile_sources)))


def go_program():
    """The function in Go, one static file."""

    def compile_sources(folder):
        run("go", "build", "-o", folder / "bootstrap", ".", cwd=GO, env={**os.environ, "CGO_ENABLED": "0"})

    inputs = {path.name: path.read_bytes() for path in GO.iterdir()}
    return (once("go", inputs, compile_sources) / "bootstrap").read_bytes()


def rust_program():
    """The function in Rust. What it depends on stays compiled beside it when the function changes."""

    def compile_sources(folder):
        run("cargo", "build", "--quiet", "--locked", "--target-dir", BUILT / "rust-target", cwd=FUNCTIONS / "rust")
        shutil.copy(BUILT / "rust-target/debug/bootstrap", folder)

    return (once("rust", sources("rust"), compile_sources) / "bootstrap").read_bytes()


def awslambdaric():
    """AWS's client for Python, as pip installs it, for the interpreter that runs the tests."""
    version = {"version": "4.2.2", "python": sys.version}

    def fetch(folder):
        run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "--only-binary", ":all:",
            f"awslambdaric=={version['version']}")

    files = files_of(once("awslambdaric", version, fetch))
    return {name: content for name, content in files.items() if "__pycache__" not in name}


def aws_lambda_ric():
    """AWS's client for Node.js, as npm installs it: it compiles a part of itself, with cmake and the headers of Node.js."""
    version = {"aws-lambda-ric": "4.0.2"}

    def fetch(folder):
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": version}))
        headers = {"npm_config_nodedir": "/usr"} if pathlib.Path("/usr/include/node/node.h").exists() else {}
        run("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", cwd=folder,
            env={**os.environ, **headers})

    files = files_of(once("aws-lambda-ric", {**version, "node": run("node", "--version")}, fetch))
    own = re.compile(r"node_modules/(aws-lambda-ric/(index.mjs|package.json|rapid-client.node)|@aws/.*)")
    return {name: content for name, content in files.items() if own.fullmatch(name)}


def started_by(command, files):
    """A package whose bootstrap is a shell's one line."""
    return package_of({**files, "bootstrap": f"#!/bin/sh\nexec {command}\n"}, 0o755)


def java_client():
    client = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda"
    return started_by(f'/usr/bin/java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "/var/task:/var/task/lib/*" {client} "$_HANDLER"',
                      {**java_classes(), **java_libraries()})


def system_python():
    """The system's own Python of the version that runs the tests."""
    return shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")


SUBJECTS = {
    "python": Subject("subject.handler", 128, "ValueError", "stackTrace", lambda: package_of(sources("python"))),
    "nodejs": Subject(
        "subject.handler", 128, "TypeError", "trace", lambda: package_of(sources("nodejs")),
        streams="subject.stream"),
    "ruby": Subject("subject.Subject.handler", 128, "Function<ArgumentError>", "stackTrace", lambda: package_of(sources("ruby"))),
    "dotnet": Subject("Subject::Subject.Function::Handle", 256, "InvalidOperationException", "stackTrace", dotnet),
    "java": Subject("subject.Subject", 256, "java.lang.IllegalStateException", "stackTrace", java),
}

# AWS's own clients, in packages of `provided.al2023`.
CLIENTS = {
    "go": Subject(
        "bootstrap", 128, "errorString", None, lambda: package_of({"bootstrap": go_program()}, 0o755), "provided.al2023", False,
        "bootstrap"),
    "rust": Subject(
        "bootstrap", 128, "NoLuck", None, lambda: package_of({"bootstrap": rust_program()}, 0o755), "provided.al2023", False,
        "bootstrap"),
    "aws-lambda-ric": Subject(
        "subject.handler", 256, "TypeError", "trace",
        lambda: started_by('/usr/bin/node node_modules/aws-lambda-ric/index.mjs "$_HANDLER"', {**aws_lambda_ric(), **sources("nodejs")}),
        "provided.al2023", streams="subject.stream"),
    "java-runtime-interface-client": Subject(
        "subject.Subject", 512, "java.lang.IllegalStateException", "stackTrace", java_client, "provided.al2023",
        # It does so behind the answer.
        logs_errors=False),
    "awslambdaric": Subject(
        "subject.handler", 128, "ValueError", "stackTrace",
        lambda: started_by(f'{system_python()} -m awslambdaric "$_HANDLER"', {**awslambdaric(), **sources("python")}), "provided.al2023"),
}
