"""Peers that send: pynetdicom's, dcmtk's, and bytes of our own."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from tests.runtime.serving.received import CT, EXPLICIT

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="no dcmtk")


@contextmanager
def association(
    address: tuple[str, int],
    contexts: Sequence[tuple[str, str]] = ((CT, EXPLICIT),),
    ae: str = "CT1",
    **options: Any,
) -> Iterator[Association]:
    """Open an association; it may be rejected.

    Args:
        address: Of the door.
        contexts: Abstract and transfer syntax of each.
        ae: The title that calls.
        options: Of pynetdicom's `associate`.
    """
    ours = AE(ae_title=ae)
    ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = 20
    built = [build_context(each, [syntax]) for each, syntax in contexts]
    opened = ours.associate(*address, contexts=built, **options)
    try:
        yield opened
    finally:
        if opened.is_established:
            opened.release()


def send(address: tuple[str, int], *datasets: Dataset, **options: Any) -> list[int]:
    """Store data sets on one association; return their statuses."""
    contexts = {(str(ds.SOPClassUID), str(ds.file_meta.TransferSyntaxUID)) for ds in datasets}
    with association(address, sorted(contexts), **options) as opened:
        assert opened.is_established
        return [opened.send_c_store(ds).Status for ds in datasets]


def storescu(port: int, *arguments: str | Path, code: int = 0) -> str:
    """Run dcmtk's storescu; return what it says."""
    command = ["storescu", "-v", *arguments[:-1], "127.0.0.1", str(port), arguments[-1]]
    env = {**os.environ, "TCP_NODELAY": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stderr


class Recorder:
    """Passes a client's bytes on, and keeps them: what a whole, right client says."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.said: list[bytes] = []
        self._address = address

    def record(self, act: Callable[[tuple[str, int]], Any]) -> list[bytes]:
        """Return what a client says, in turns; the door answers after each."""
        import threading

        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                client, _ = server.accept()
                with client, socket.create_connection(self._address) as door:
                    client.settimeout(0.2)
                    door.settimeout(0.2)
                    while True:
                        said = read_pdu(client)
                        if not said:
                            return
                        self.said.append(said)
                        door.sendall(said)
                        if said[0] == 4 and not ends_message(said):
                            continue
                        answer = read_pdu(door)
                        if not answer:
                            return
                        client.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            act(server.getsockname())
            thread.join(20)
        return self.said


def ends_message(pdu: bytes) -> bool:
    """Whether a P-DATA-TF ends a data set, after which an answer comes."""
    return bool(pdu[11 - 1 + 0] & 2) and not pdu[10] & 1


def read_pdu(connection: socket.socket, seconds: float = 20) -> bytes:
    """Return the next PDU; empty where the other side hangs up."""
    connection.settimeout(seconds)
    head = _exactly(connection, 6)
    if len(head) < 6:
        return b""
    return head + _exactly(connection, struct.unpack(">L", head[2:])[0])


def _exactly(connection: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = connection.recv(count - len(read))
        if not piece:
            break
        read += piece
    return read


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def all_bytes(parts: Iterable[bytes]) -> bytes:
    return b"".join(parts)
