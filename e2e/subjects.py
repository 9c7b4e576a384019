"""The function that every runtime of the tests has: its sources are in `functions`, one folder a language.

What has to be compiled is compiled once for a content, into `target/ci/subjects`.
"""

import dataclasses
import hashlib
import pathlib
import re
import shutil
import subprocess

from packages import package_of
from server import REPOSITORY, runtime_directories

FUNCTIONS = pathlib.Path(__file__).resolve().parent / "functions"
BUILT = REPOSITORY / "target/ci/subjects"

# Version and name of the library in which AWS publishes the interface of Java handlers.
JAVA_CORE = ("1.4.0", "aws-lambda-java-core")


@dataclasses.dataclass(frozen=True)
class Subject:
    """How a language's function is made, and what of its answers is its own."""

    handler: str
    memory: int
    error_type: str
    # How an error object names the stack, and whether it carries the request's id.
    stack: str
    build: object

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


def java(with_core=True):
    """The classes, with the library as a function brings it, or without where the runtime's has to do."""
    core = java_core()

    def compile_sources(folder):
        files = sorted((FUNCTIONS / "java").rglob("*.java"))
        run("javac", "--release", "8", "-Xlint:-options", "-cp", core, "-d", folder, *files)

    classes = files_of(once("java", sources("java"), compile_sources))
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


SUBJECTS = {
    "python": Subject("subject.handler", 128, "ValueError", "stackTrace", lambda: package_of(sources("python"))),
    "nodejs": Subject("subject.handler", 128, "TypeError", "trace", lambda: package_of(sources("nodejs"))),
    "ruby": Subject("subject.Subject.handler", 128, "Function<ArgumentError>", "stackTrace", lambda: package_of(sources("ruby"))),
    "dotnet": Subject("Subject::Subject.Function::Handle", 256, "InvalidOperationException", "stackTrace", dotnet),
    "java": Subject("subject.Subject", 256, "java.lang.IllegalStateException", "stackTrace", java),
}
