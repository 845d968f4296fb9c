"""Every setting, limit and default of the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from darnet_trt.runtime.delivery.deliver import OUR_TITLE

GIB = 1 << 30
SHORTEST_QUIET_S, LONGEST_QUIET_S = 0.1, 86400.0
"""Of the quiet times that may be asked for."""
LONGEST_GRACE_S = 86400.0
"""Of the times that a stop may wait."""
RATES = 0.01, 1e6
"""Least and most slices a second that a peer may be kept to."""


@dataclass(frozen=True)
class Peer:
    """A DICOM application entity that may send.

    Attributes:
        ae: Its application entity title.
        hosts: Addresses or networks (CIDR) that it may come from; empty: any.
        plain: Whether it may speak without TLS.
        quiet_s: How long a study of it must be quiet before it counts as complete; None: as of
            `Settings`.
        port: Where it takes answers to its requests to commit; None: only on its association.
    """

    ae: str
    hosts: tuple[str, ...] = ()
    plain: bool = False
    quiet_s: float | None = None
    port: int | None = None


@dataclass(frozen=True)
class Tls:
    """Files of TLS, PEM.

    Attributes:
        certificate: Ours, with its chain.
        key: Its private key.
        clients: Certificates that sign those of clients; None: clients need none.
    """

    certificate: Path
    key: Path
    clients: Path | None = None


@dataclass(frozen=True)
class DicomSettings:
    """The DICOM door.

    Attributes:
        port: 0 takes a free one.
        host: The address to listen on.
        ae: Our application entity title.
        peers: Who may send; empty: anybody, on loopback alone.
        tls: None: plain.
        associations: Most at once.
        pdu: Largest protocol data unit in bytes (128 KiB: 1.3 to 1.7 times the rate of 16 KiB).
        slices_per_s: Most slices a second of one peer; None: any.
        idle_s: An association is ended when nothing comes for so long.
    """

    port: int = 11112
    host: str = "127.0.0.1"
    ae: str = OUR_TITLE
    peers: tuple[Peer, ...] = ()
    tls: Tls | None = None
    associations: int = 32
    pdu: int = 131072
    slices_per_s: float | None = None
    idle_s: float = 60.0


@dataclass(frozen=True)
class HttpSettings:
    """The HTTP door.

    Attributes:
        port: 0 takes a free one.
        host: The address to listen on.
        token: What callers must show as bearer; None: nothing, on loopback alone.
        tls: None: plain, on loopback alone.
        connections: Most at once.
        upload: Most bytes of a scan's upload.
        unpacked: Most bytes of it when it is unpacked.
        files: Most slices in one upload.
        tensors: Most bytes of a tensor request.
        slowest: Fewest bytes a second of a body; slower ones are ended.
        remember_s: How long a request is remembered by its Idempotency-Key.
    """

    port: int = 8000
    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    connections: int = 256
    upload: int = 4 * GIB
    unpacked: int = 16 * GIB
    files: int = 20_000
    tensors: int = GIB // 4
    slowest: int = 10_000
    remember_s: float = 30 * 86400.0


@dataclass(frozen=True)
class Settings:
    """The service.

    Attributes:
        bundle: Its folder; a reload opens it again.
        state: The state folder.
        artifact: The engine's name; None: the bundle's default.
        threads: The engine's CPU threads; None: the engine chooses.
        workers: Most processes that read scans; None: one a CPU.
        memory: Most bytes; None: as the machine allows.
        dicom: None: no DICOM door.
        http: None: no HTTP door.
        objects: Kinds of DICOM objects to make of each result.
        send: Addresses that get them.
        commit_port: Where peers bring their answers to requests to commit; None: none are made.
        identifiers: Whether results hold the patient's fields as they are.
        quiet_s: How long a study must be quiet before it counts as complete.
        shortest_quiet_s: The same, where the study's own numbers say that nothing is missing.
        keep_s: How long slices and results are kept after their last change; None: for ever.
        studies: Most studies that wait for the engine; beyond it none is begun.
        volumes: Most volumes of tensor requests that wait.
        volume_bytes: Most bytes of them.
        least_free: Bytes of the state folder's disk that are never used.
        grace_s: How long a stop waits for what is under way.
    """

    bundle: Path
    state: Path
    artifact: str | None = None
    threads: int | None = None
    workers: int | None = None
    memory: int | None = None
    dicom: DicomSettings | None = None
    http: HttpSettings | None = None
    objects: tuple[str, ...] = ()
    send: tuple[str, ...] = ()
    commit_port: int | None = None
    identifiers: bool = False
    quiet_s: float = 10.0
    shortest_quiet_s: float = 2.0
    keep_s: float | None = None
    studies: int = 1000
    volumes: int = 64
    volume_bytes: int = GIB
    least_free: int = 2 * GIB
    grace_s: float = 60.0
