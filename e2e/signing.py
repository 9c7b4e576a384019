"""Signed packages in the form of AWS Signer, with a certificate authority of the tests' own.

Keys, certificates and the raw signature are made by the program openssl; the rest of the form is put together here, because
openssl has no word for the attributes that Signer adds.
"""

import base64
import datetime
import hashlib
import io
import subprocess
import zipfile

ENTRY = "META_INF/aws_signer_signature_v1.0.SF"
SHA384 = "2.16.840.1.101.3.4.2.2"
ECDSA = "1.2.840.10045.4.3.3"


def openssl(*words, given=None):
    done = subprocess.run(["openssl", *map(str, words)], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def der(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([128 + len(octets)]) + octets) + body


def sequence(*parts):
    return der(0x30, *parts)


def oid(text):
    first, second, *rest = map(int, text.split("."))
    body = bytes([40 * first + second])
    for number in rest:
        digits = [number & 127]
        while number := number >> 7:
            digits.append(128 | number & 127)
        body += bytes(reversed(digits))
    return der(0x06, body)


def a_set(*parts):
    return der(0x31, *sorted(parts))


def time(when):
    return der(0x18, when.strftime("%Y%m%d%H%M%S.000Z").encode())


def parts_of(element):
    """The elements inside one; all lengths are told ahead in what openssl makes."""
    def split(data):
        size, at = data[1], 2
        if size >= 128:
            at += size - 128
            size = int.from_bytes(data[2:at], "big")
        return data[:at + size], data[at:at + size], data[at + size:]

    _, inside, _ = split(element)
    parts = []
    while inside:
        whole, _, inside = split(inside)
        parts.append(whole)
    return parts


class Authority:
    """A root, an authority below it, and the signer."""

    def __init__(self, folder):
        self.folder = folder
        self.key = folder / "leaf.key"
        common = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384", "-nodes", "-batch", "-days", "3"]
        authority = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        signer = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature",
                  "-addext", "extendedKeyUsage=codeSigning"]
        above = []
        for name, more in [("root", authority), ("middle", authority), ("leaf", signer)]:
            openssl("req", "-x509", *common, "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key",
                    "-out", folder / f"{name}.crt", *more, *above)
            above = ["-CA", folder / f"{name}.crt", "-CAkey", folder / f"{name}.key"]
        self.chain = [openssl("x509", "-in", folder / f"{name}.crt", "-outform", "DER") for name in ("leaf", "middle", "root")]

    def root(self):
        return (self.folder / "root.crt").read_bytes()

    def sign(self, package, profile, job, expires_in=datetime.timedelta(days=1), digest_of=None):
        """The package with a signature; `digest_of` signs another one instead."""
        with zipfile.ZipFile(io.BytesIO(digest_of or package)) as archive:
            entries = [(info, archive.read(info)) for info in archive.infolist()]
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            kept = [(info, archive.read(info)) for info in archive.infolist()]
        directory = (zipfile.ZipInfo("META_INF/"), b"")
        inner = hashlib.sha384(b"".join(info.filename.encode() + body for info, body in [*entries, directory])).digest()
        envelope = self.envelope(hashlib.sha384(inner).digest(), profile, job, expires_in)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for info, body in [*kept, directory]:
                archive.writestr(info, body)
            text = base64.encodebytes(envelope).decode()
            archive.writestr(ENTRY, f"-----BEGIN PKCS7-----\n{text}-----END PKCS7-----\n")
        return buffer.getvalue()

    def envelope(self, digest, profile, job, expires_in):
        now = datetime.datetime.now(datetime.timezone.utc)

        def attribute(kind, value):
            return sequence(oid(kind), a_set(value))

        attributes = sorted([
            attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.7.1")),
            attribute("1.2.840.113549.1.9.4", der(0x04, digest)),
            attribute("1.2.840.113549.1.9.5", time(now)),
            attribute("1.3.187.137.1.2", der(0x0C, job.encode())),
            attribute("1.3.187.137.1.3", time(now + expires_in)),
            attribute("1.3.187.137.1.4", der(0x0C, profile.encode())),
        ])
        value = openssl("dgst", "-sha384", "-sign", self.key, given=der(0x31, *attributes))
        body = parts_of(parts_of(self.chain[0])[0])
        serial, issuer = body[1], body[3]
        signer = sequence(der(0x02, b"\1"), sequence(issuer, serial), sequence(oid(SHA384)), der(0xA0, *attributes),
                          sequence(oid(ECDSA)), der(0x04, value))
        data = sequence(der(0x02, b"\1"), a_set(sequence(oid(SHA384))), sequence(oid("1.2.840.113549.1.7.1")),
                        der(0xA0, *sorted(self.chain)), a_set(signer))
        # Lengths that are not told ahead, as Signer writes them.
        return b"\x30\x80" + oid("1.2.840.113549.1.7.2") + b"\xa0\x80" + data + b"\0\0\0\0"
