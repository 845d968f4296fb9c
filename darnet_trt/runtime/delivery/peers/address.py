"""Addresses of peers: `AE@host:port` for DICOM's own network protocol, `https://…` for STOW-RS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from darnet_trt.errors import UsageError

_FORMS: Final = "write AE@host:port, or the https:// address of a DICOMweb service"


@dataclass(frozen=True)
class Dimse:
    """A peer that takes objects by C-STORE.

    Attributes:
        ae: Its application entity title.
        host: Its name or address; an IPv6 address without brackets.
        port: Its port.
    """

    ae: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae}@{host}:{self.port}"


@dataclass(frozen=True)
class Stow:
    """A peer that takes objects by STOW-RS.

    Attributes:
        url: The DICOMweb service, without `/studies` at its end.
    """

    url: str

    def __str__(self) -> str:
        return self.url


Address = Dimse | Stow


def parse_address(text: str, option: str = "--send") -> Address:
    """Return the peer of an address; two spellings of one address give equal peers.

    Args:
        text: The address.
        option: Where it stands, for errors.

    Raises:
        UsageError: It is no address.
    """
    address = text.strip()
    if re.match(r"https?://", address, re.IGNORECASE):
        return _stow(address, option)
    ae, at, place = address.rpartition("@")
    found = re.fullmatch(r"(?:\[([0-9a-f:.%a-z]+)\]|([^\s:/\[\]@]+)):(\d{1,5})", place.lower())
    if not at or found is None:
        raise UsageError(f"{text!r} is no address of a peer", where=option, do=_FORMS)
    port = int(found[3])
    if not 1 <= port <= 65535:
        raise UsageError(f"{text!r} has no port of 1 to 65535", where=option, do="correct it")
    return Dimse(parse_title(ae, option), found[1] or found[2], port)


def parse_title(text: str, option: str) -> str:
    """Return an application entity title without the spaces around it, which mean nothing.

    Source: PS3.5 6.2, value representation AE.

    Raises:
        UsageError: It is none.
    """
    title = text.strip(" ")
    if not 1 <= len(title) <= 16 or not re.fullmatch(r"[\x20-\x5b\x5d-\x7e]+", title):
        raise UsageError(
            f"{text!r} is no application entity title",
            where=option,
            do="write 1 to 16 characters of ASCII, without a backslash",
        )
    return title


def _stow(address: str, option: str) -> Stow:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:  # brackets, or a port that is no number
        raise UsageError(f"{address!r}: {error}", where=option, do="correct it") from error
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the address holds a user", where=option, do="put user and password into ~/.netrc"
        )
    if not host or re.search(r"[\s\\]", address) or parts.query or parts.fragment or port == 0:
        raise UsageError(
            f"{address!r} is no address of a DICOMweb service",
            where=option,
            do="write https://host/path, without ? and #",
        )
    name = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    place = name if port in (None, default) else f"{name}:{port}"
    path = parts.path.rstrip("/").removesuffix("/studies").rstrip("/")
    return Stow(urlunsplit((parts.scheme, place, path, "", "")))
