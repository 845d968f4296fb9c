"""Read what the options of `darnet-trt serve` mean."""

from __future__ import annotations

import importlib.util
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from darnet_trt.cli.printing import warn
from darnet_trt.errors import MissingPackageError, UsageError
from darnet_trt.runtime.delivery.peers.address import parse_title
from darnet_trt.runtime.serving.settings import (
    LONGEST_QUIET_S,
    SHORTEST_QUIET_S,
    Peer,
    Settings,
    Tls,
)

OFF: Final = "off"
_PACKAGES: Final = ("fastapi", "uvicorn", "prometheus_client", "python_multipart", "pynetdicom")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PORTS: Final = range(65536)


def need_packages() -> None:
    """Check that the packages of the extra are installed.

    Raises:
        MissingPackageError: One is not.
    """
    for name in _PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise MissingPackageError(name, extra="serve")


def address_of(text: str, option: str) -> tuple[str, int] | None:
    """Return host and port; None for "off".

    Args:
        text: 127.0.0.1:8000, [::1]:8000 or localhost:0.
        option: Where it was given.

    Raises:
        UsageError: It is no such address.
    """
    if text == OFF:
        return None
    host, port = _host_and_port(text)
    if not host or port is None:
        raise UsageError(
            f"{text!r} is no address with a port", where=option, do="write 127.0.0.1:8000, or off"
        )
    return host, port


def token_of(file: Path | None) -> str | None:
    """Return the token in a file; None where there is no file.

    Raises:
        UsageError: It cannot be read, or does not hold one line.
    """
    if file is None:
        return None
    option = "--token-file"
    warn_if_open(file, option)
    try:
        lines = file.read_text("ascii").split()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror})", where=option, do="check its permissions"
        ) from error
    except ValueError:
        lines = []
    if len(lines) != 1:
        raise UsageError(
            f"{file} does not hold one line with a token",
            where=option,
            do="make one with: openssl rand -hex 32",
        )
    return lines[0]


def tls_of(certificate: Path | None, key: Path | None, clients: Path | None) -> Tls | None:
    """Return the files of TLS; None where none is given.

    Raises:
        UsageError: Some are missing, or cannot be read.
    """
    if certificate is None and key is None and clients is None:
        return None
    if certificate is None or key is None:
        given = "--tls-clients" if certificate is key is None else "--tls-cert"
        raise UsageError("TLS needs a certificate and its key", where=given, do="give both")
    for option, file in (
        ("--tls-cert", certificate),
        ("--tls-key", key),
        ("--tls-clients", clients),
    ):
        try:
            if file is not None:
                file.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{file} cannot be read ({error.strerror})", where=option, do="check the path"
            ) from error
    warn_if_open(key, "--tls-key")
    return Tls(certificate, key, clients)


def warn_if_open(file: Path, option: str) -> None:
    """Warn of a secret that every user of this machine can read."""
    with suppress(OSError):  # reading it tells what is wrong
        if file.stat().st_mode & stat.S_IROTH:
            warn(f"warning: {option}: every user of this machine can read {file}; chmod 600 it")


def seconds_of(text: str, option: str) -> float:
    """Return the seconds of 90s, 12h, 7d or 4w.

    Raises:
        UsageError: It is no such time.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", text.strip().lower())
    if match is None or not float(match[1]):
        raise UsageError(f"{text!r} is no time", where=option, do="write it as 12h, 7d or 4w")
    return float(match[1]) * _SECONDS[match[2]]


def check_range(value: float, least: float, most: float, option: str) -> None:
    """Check a number, which may be NaN.

    Args:
        value: The number.
        least: What it is at least.
        most: What it is at most.
        option: Where it was given.

    Raises:
        UsageError: It is out of the range.
    """
    if not least <= value <= most:
        raise UsageError(
            f"{value:g} is not from {least:g} to {most:g}", where=option, do="give another number"
        )


def quiet(seconds: float) -> dict[str, Any]:
    """Return the settings for a quiet time: the shortest one is no longer than it."""
    return {"quiet_s": seconds, "shortest_quiet_s": min(Settings.shortest_quiet_s, seconds)}


def peers_of(
    settle: Sequence[str], allowed: Sequence[str], plain: Sequence[str]
) -> tuple[float | None, tuple[Peer, ...]]:
    """Return the quiet time of all, None where it is not given, and the DICOM peers.

    Args:
        settle: SECONDS or AE=SECONDS, each.
        allowed: AE or AE@ADDRESS or AE@ADDRESS:PORT, each.
        plain: AE@ADDRESS or AE@ADDRESS:PORT, each: they may send without TLS.

    Raises:
        UsageError: One is not of that form, or names a peer that is not allowed.
    """
    peers: dict[tuple[str, bool], Peer] = {}
    for option, texts, is_plain in (
        ("--dicom-peer", allowed, False),
        ("--dicom-plain", plain, True),
    ):
        for text in texts:
            new = _peer(text, option, is_plain)
            old = peers.get((new.ae, is_plain), replace(new, hosts=()))
            hosts = (*old.hosts, *new.hosts)
            peers[new.ae, is_plain] = replace(new, hosts=hosts, port=new.port or old.port)
    quiet_s: float | None = None
    for text in settle:
        ae, _, seconds = text.rpartition("=")
        value = _quiet_s(seconds, text)
        named = [key for key in peers if key[0] == ae]
        if not ae:
            quiet_s = value
        elif not named:
            raise UsageError(
                f"{ae!r} is not among the peers", where="--settle", do=f"add --dicom-peer {ae}"
            )
        for key in named:
            peers[key] = replace(peers[key], quiet_s=value)
    return quiet_s, tuple(peers.values())


def _peer(text: str, option: str, plain: bool) -> Peer:
    ae, at, address = text.rpartition("@")
    if not at:
        ae, address = text, ""
    title = parse_title(ae, option)
    if not at and not plain:
        return Peer(title)
    host, port = _host_and_port(address)
    if not host:
        raise UsageError(f"{text!r} names no address", where=option, do="write CT1@192.168.1.7")
    return Peer(title, (host,), plain, port=port)


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Split an address; the host is empty where it is none, the port None where there is none."""
    match = re.fullmatch(r"\[([^\]]+)\](?::([0-9]{1,5}))?|([^:\[\]@\s]+)(?::([0-9]{1,5}))?", text)
    if match is None:  # an IPv6 address without brackets has no port
        return (text, None) if re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]+)?", text) else ("", None)
    host, port = match[1] or match[3], match[2] or match[4]
    if port is not None and int(port) not in _PORTS:
        return "", None
    return host, None if port is None else int(port)


def _quiet_s(text: str, whole: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST_QUIET_S <= seconds <= LONGEST_QUIET_S:
        raise UsageError(
            f"{whole!r} is no number of seconds from {SHORTEST_QUIET_S:g} to {LONGEST_QUIET_S:g}",
            where="--settle",
            do="write 10, or CT1=30 for one peer",
        )
    return seconds
