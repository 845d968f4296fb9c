"""TLS of a door, with the certificates of its clients (PS3.15 annex B: BCP 195)."""

from __future__ import annotations

import ssl

from darnet_trt.errors import UsageError
from darnet_trt.runtime.serving.settings import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return what a server speaks TLS with; clients must show a certificate where `tls` says so.

    Raises:
        UsageError: A file is missing, or is none of the kind.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise _unusable(f"{tls.certificate} with {tls.key}", error) from error
    if tls.clients is not None:
        try:
            context.load_verify_locations(tls.clients)
        except (OSError, ValueError) as error:
            raise _unusable(str(tls.clients), error) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return what we speak TLS with where we open the association, to a peer of `tls.clients`.

    Its name is not compared: peers are known by address.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.load_cert_chain(tls.certificate, tls.key)
    if tls.clients is not None:
        context.load_verify_locations(tls.clients)
    return context


def _no_password() -> str:
    """Fail where a key is encrypted: OpenSSL would ask at a terminal that nobody reads."""
    raise ValueError("the key is encrypted")


def _unusable(where: str, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or error
    return UsageError(
        f"cannot be used for TLS ({reason})",
        where=where,
        do="give PEM files: a certificate with its chain, and its key without a password",
    )
