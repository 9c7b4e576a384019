"""Certificates for a test: an authority of its own, and what it vouches for."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
NAMES = {"C": NameOID.COUNTRY_NAME, "O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME}


def name_of(**attributes):
    return x509.Name([x509.NameAttribute(NAMES[key], value) for key, value in attributes.items()])


class Authority:
    """One certificate authority."""

    def __init__(self, name="Test Authority"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name_of(C="CH", O="Gatemill", CN=name)
        ours = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(**{
            "digital_signature": True, "key_cert_sign": True, "crl_sign": True, "content_commitment": False,
            "key_encipherment": False, "data_encipherment": False, "key_agreement": False,
            "encipher_only": False, "decipher_only": False})
        self.certificate = self.sign(self.name, self.key, (ours, True), (usage, True))

    def sign(self, subject, key, *extensions, serial=None, days=2):
        now = datetime.datetime.now(datetime.timezone.utc)
        made = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
                .serial_number(serial or x509.random_serial_number())
                .not_valid_before(now - 3 * DAY).not_valid_after(now + days * DAY))
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(self.key, hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, *hosts):
        """A certificate for hosts, and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = []
        for host in hosts:
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        extension = (x509.SubjectAlternativeName(names), False)
        return pair(self.sign(name_of(CN=hosts[0]), key, extension), key)

    def client(self, serial=None, days=2, **attributes):
        """A certificate for a client, and its key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        return pair(self.sign(name_of(**attributes), key, usage, serial=serial, days=days), key)


def pair(certificate, key):
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return certificate.public_bytes(pem), key.private_bytes(pem, form, serialization.NoEncryption())
