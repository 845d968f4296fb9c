"""Certificates made for a test: an authority, and what it signs."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from darnet_trt.runtime.serving.settings import Tls

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Authority:
    """Signs certificates.

    Attributes:
        path: Its own.
    """

    key: ec.EllipticCurvePrivateKey
    own: x509.Certificate
    path: Path

    def sign(self, name: str, *, days: int = 1) -> Tls:
        """Return a new certificate and its key; with negative days it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(name, key, self.own.subject, self.key, days, authority=False)
        return self._write(name, key, signed)

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, signed: x509.Certificate) -> Tls:
        folder = self.path.parent
        (folder / f"{name}.pem").write_bytes(signed.public_bytes(_PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return Tls(folder / f"{name}.pem", folder / f"{name}.key", self.path)


def authority(folder: Path, name: str = "ca") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    own = _certificate(name, key, subject, key, 1, authority=True)
    path = folder / f"{name}.pem"
    path.write_bytes(own.public_bytes(_PEM))
    return Authority(key, own, path)


def client(tls: Tls | None, trusted: Path) -> ssl.SSLContext:
    """What a client speaks TLS with.

    Args:
        tls: Its certificate; None: it has none.
        trusted: Whose signature it asks of the server.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(trusted)
    if tls is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
