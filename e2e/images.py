"""Container images made in memory, the registry they are pushed to, and folders in the OCI layout.

The registry is the real one, Debian's `docker-registry`; images are tar archives and JSON written here, so that they
can be as wrong as a test wants.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
# Of the user `customer` with the password `open sesame`.
HTPASSWD = "customer:$2b$05$vztpa5YzuEhizmhHDw1qqOTQiCPVON4QQCqbZHp15BjQ.Ke4HUxGC\n"
LOGIN = base64.b64encode(b"customer:open sesame").decode()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer(files=(), links=(), add=()):
    """A tar archive of `(name, content)`, symbolic `(name, target)` and ready-made `(TarInfo, content)`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in dict(files).items():
            info = tarfile.TarInfo(name)
            content = content.encode() if isinstance(content, str) else content
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
        for name, target in dict(links).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for info, content in add:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class Image:
    """An image as its blobs by digest, and the bytes of its manifest."""

    def __init__(self, layers, compress=lambda tar: gzip.compress(tar, 1), layer_type=LAYER, architecture=ARCHITECTURE, **config):
        self.blobs = {}
        packed = [compress(tar) for tar in layers]
        about = {
            "architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in layers]},
        }
        self.manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.keep(json.dumps(about).encode(), CONFIG),
            "layers": [self.keep(content, layer_type) for content in packed],
        }).encode()
        self.digest = digest(self.manifest)

    def keep(self, content, media_type):
        self.blobs[digest(content)] = content
        return {"mediaType": media_type, "digest": digest(content), "size": len(content)}

    def descriptor(self, **more):
        return {"mediaType": MANIFEST, "digest": self.digest, "size": len(self.manifest), **more}

    def write_layout(self, folder, tag):
        blobs = pathlib.Path(folder, "blobs/sha256")
        blobs.mkdir(parents=True)
        for name, content in {**self.blobs, self.digest: self.manifest}.items():
            (blobs / name.removeprefix("sha256:")).write_bytes(content)
        annotations = {"org.opencontainers.image.ref.name": tag}
        index = {"schemaVersion": 2, "manifests": [self.descriptor(annotations=annotations)]}
        pathlib.Path(folder, "index.json").write_text(json.dumps(index))
        pathlib.Path(folder, "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


class Registry:
    """A `docker-registry` on the loopback; with `login`, only for who knows the password."""

    def __init__(self, directory, login=False):
        if not shutil.which("docker-registry"):
            raise AssertionError("there is no docker-registry; `cargo xtask ci programs` installs it")
        self.login = login
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        settings = {
            "version": "0.1", "log": {"level": "error"}, "http": {"addr": self.host},
            "storage": {"filesystem": {"rootdirectory": str(directory / "registry")}, "delete": {"enabled": True}},
        }
        if login:
            (directory / "htpasswd").write_text(HTPASSWD)
            settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
        (directory / "registry.yml").write_text(json.dumps(settings))
        self.log = open(directory / "registry.log", "ab")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(directory / "registry.yml")], stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                with socket.create_connection(tuple(self.host.split(":")), 1):
                    return
            except OSError:
                assert self.process.poll() is None, (directory / "registry.log").read_text()
                time.sleep(0.05)
        raise AssertionError("the registry does not listen")

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def call(self, method, path, body=None, **headers):
        url = path if path.startswith("http") else f"http://{self.host}{path}"
        request = urllib.request.Request(url, body, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
        if self.login:
            request.add_header("Authorization", f"Basic {LOGIN}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.headers

    def push(self, repository, tag, image):
        """Uploads what is missing and moves the tag; gives the URI."""
        for name, content in image.blobs.items():
            try:
                self.call("HEAD", f"/v2/{repository}/blobs/{name}")
            except urllib.error.HTTPError:
                to = self.call("POST", f"/v2/{repository}/blobs/uploads/", b"")["Location"]
                joint = "&" if "?" in to else "?"
                self.call("PUT", f"{to}{joint}digest={name}", content, Content_Type="application/octet-stream")
        self.put_manifest(repository, tag, image.manifest, MANIFEST)
        return f"{self.host}/{repository}:{tag}"

    def put_manifest(self, repository, tag, manifest, media_type):
        self.call("PUT", f"/v2/{repository}/manifests/{tag}", manifest, Content_Type=media_type)

    def delete(self, repository, name):
        self.call("DELETE", f"/v2/{repository}/manifests/{name}")


def libraries(programs):
    """What programs and modules of this host are linked with, by its path in an image."""
    linked = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    lines = [line for line in linked.splitlines() if not line.endswith(":")]
    paths = {word for line in lines for word in line.split() if word.startswith("/")}
    return {path.lstrip("/"): pathlib.Path(path).read_bytes() for path in sorted(paths)}


def python_tree(program=sys.executable):
    """A layer with a Python of this host and what it needs, as an image of a distribution would have it."""
    ask = "import sys, sysconfig; print('%d.%d' % sys.version_info[:2], sysconfig.get_path('stdlib'))"
    release, library = subprocess.run([program, "-I", "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    version, program, library = f"python{release}", os.path.realpath(program), pathlib.Path(library)
    shared = libraries([program, *map(str, library.joinpath("lib-dynload").glob("*.so"))])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, content in shared.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
        archive.add(program, f"usr/bin/{version}")
        skip = ("__pycache__", "test", "tests", "idlelib", "lib2to3", "ensurepip", "dist-packages", "site-packages")
        archive.add(library, str(library).lstrip("/"), filter=lambda info: None if info.name.split("/")[-1] in skip else info)
        link = tarfile.TarInfo("usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, version
        archive.addfile(link)
    return buffer.getvalue()
