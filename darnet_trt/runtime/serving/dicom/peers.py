"""Who may send: application entities, by title, address and whether they speak TLS."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
)

from darnet_trt.errors import UsageError
from darnet_trt.runtime.delivery.peers.address import parse_title
from darnet_trt.runtime.serving.network.addresses import is_loopback
from darnet_trt.runtime.serving.settings import (
    LONGEST_QUIET_S,
    SHORTEST_QUIET_S,
    DicomSettings,
    Peer,
)

_WHERE: Final = "the DICOM door"


class _Entry(BaseModel):
    """A table of the file of peers; see `Peer`."""

    model_config = ConfigDict(extra="forbid")

    hosts: tuple[str, ...] = ()
    plain: StrictBool = False
    quiet_s: float | None = Field(None, ge=SHORTEST_QUIET_S, le=LONGEST_QUIET_S)
    port: int | None = Field(None, ge=1, le=65535)


def read_peers(path: Path) -> tuple[Peer, ...]:
    """Read who may send from a TOML file: of each peer a table, named by its AE title.

        [CT1]
        hosts = ["192.168.1.7"]
        plain = true
        quiet_s = 30
        port = 104

    Raises:
        UsageError: The file cannot be read, or says something else.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        entries = TypeAdapter(dict[str, _Entry]).validate_python(tables)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UsageError(f"{name}: {first['msg']}", where=path, do="correct it") from error
    except (OSError, ValueError) as error:  # no TOML, or not UTF-8
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"is no list of peers ({reason})", where=path, do="correct it") from error
    return tuple(
        Peer(parse_title(ae, str(path)), **entry.model_dump()) for ae, entry in entries.items()
    )


def check_closed(settings: DicomSettings) -> None:
    """Check that no stranger can send.

    Raises:
        UsageError: The door is open beyond this machine, and neither certificates of clients nor a
            list of titles with addresses closes it; or an address is none.
    """
    for peer in settings.peers:
        for host in peer.hosts:
            try:
                ipaddress.ip_network(host, strict=False)
            except ValueError as error:
                raise UsageError(
                    f"{host!r} of {peer.ae} is no address or network",
                    where=_WHERE,
                    do="write 192.168.1.7 or 192.168.1.0/24",
                ) from error
    mutual = settings.tls is not None and settings.tls.clients is not None
    for peer in settings.peers:
        if peer.plain and not peer.hosts:
            raise UsageError(
                f"{peer.ae} may speak without TLS from any address",
                where=_WHERE,
                do="name the addresses that it comes from",
            )
    if is_loopback(settings.host) or mutual:
        return
    if settings.tls is not None:
        raise UsageError(
            "TLS without certificates of clients lets anybody send",
            where=_WHERE,
            do="name the certificates that sign those of the clients",
        )
    if not settings.peers or not all(peer.plain for peer in settings.peers):
        raise UsageError(
            f"{settings.host} is reached from other machines, and nothing says who may send",
            where=_WHERE,
            do="use TLS with certificates of clients, or name each peer that may speak plainly "
            "with its AE title and addresses",
        )


def find_peer(settings: DicomSettings, ae: str, host: str, *, secure: bool) -> Peer | None:
    """Return the peer that an association comes from; None: it may not send.

    Args:
        settings: Of a door that `check_closed` passed.
        ae: Its calling application entity title.
        host: Its address.
        secure: Whether it speaks TLS.
    """
    if not settings.peers:
        return Peer(ae) if secure or settings.tls is None else None
    for peer in settings.peers:
        if peer.ae == ae and _comes_from(peer, host):
            local = settings.tls is None and is_loopback(settings.host)
            if secure or peer.plain or local:
                return peer
    return None


def may_speak_plain(settings: DicomSettings, host: str) -> bool:
    """Return whether some peer at an address may speak without TLS; its title comes later."""
    return settings.tls is None or any(
        peer.plain and _comes_from(peer, host) for peer in settings.peers
    )


def _comes_from(peer: Peer, host: str) -> bool:
    if not peer.hosts:
        return True
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)  # IPv4 on a socket of IPv6
    networks = [ipaddress.ip_network(each, strict=False) for each in peer.hosts]
    return any((mapped or address) in network for network in networks)
