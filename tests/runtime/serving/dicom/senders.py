"""Peers that send: pynetdicom's, dcmtk's, and bytes of our own."""

from __future__ import annotations

import os
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context
from pynetdicom.association import Association

from darnet_trt.runtime.delivery.peers.checkpoint import keep_answers
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
    ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = 60
    built = [build_context(each, [syntax]) for each, syntax in contexts]
    opened = ours.associate(*address, contexts=built, **options)
    keep_answers(opened)
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


def turns_of(address: tuple[str, int], act: Callable[[tuple[str, int]], object]) -> list[bytes]:
    """Have a client speak with a door; return what it says, in turns, each before an answer."""
    turns = [b""]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pass_on() -> None:
            client, _ = server.accept()
            with client, socket.create_connection(address) as door:
                while ready := select.select([client, door], [], [], 60)[0]:
                    for side in ready:
                        piece = side.recv(1 << 16)
                        if not piece:
                            return
                        if side is door:
                            turns.append(b"")
                            client.sendall(piece)
                        else:
                            turns[-1] += piece
                            door.sendall(piece)

        thread = threading.Thread(target=pass_on)
        thread.start()
        act(server.getsockname())
        thread.join(60)
    return [turn for turn in turns if turn]


def play(connection: socket.socket, turns: Sequence[bytes], count: int) -> bytes:
    """Say the first bytes of some turns, and hear the answers between them.

    Returns:
        The answers.
    """
    heard = b""
    for turn in turns:
        connection.sendall(turn[:count])
        count -= len(turn)
        if count < 0:
            break
        heard += read_pdu(connection)
    return heard


def read_pdu(connection: socket.socket, seconds: float = 60) -> bytes:
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


def eventually(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)
