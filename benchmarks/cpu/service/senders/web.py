"""Send DICOM files over HTTP: by STOW-RS, and as ZIP archives."""

from __future__ import annotations

import http.client
import io
import json
import random
import socket
import zipfile
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.cpu.service.senders.studies import Instance

ANSWER_S: Final = 20.0
CONFLICT: Final = 0x0111
"""FailureReason of what is kept apart, and counted as refused (PS3.7 annex C)."""


def store(port: int, batch: Sequence[Instance], rng: random.Random) -> tuple[str, set[Instance]]:
    """Send some files in one request; return its answer, and those that were acknowledged.

    Args:
        port: Of the HTTP door, on loopback.
        batch: With a SOPInstanceUID each of its own.
        rng: Draws the way, and whether the sender hangs up before the answer.
    """
    stow = rng.random() < 0.5
    path, kind, body = _stow(batch) if stow else _packed(batch)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        if rng.random() < 0.1:
            assert connection.sock is not None
            connection.sock.shutdown(socket.SHUT_RDWR)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        return "no answer over HTTP", set()
    finally:
        connection.close()
    name = f"{'STOW' if stow else 'ZIP'} {answer.status}"
    if answer.status not in (200, 202, 409):
        return name, set()
    found = json.loads(content)
    return name, _stored(found, batch) if stow else _unpacked(found, batch)


def _stow(batch: Sequence[Instance]) -> tuple[str, str, bytes]:
    head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + each.content + b"\r\n" for each in batch) + b"--b--\r\n"
    return "/dicomweb/studies", 'multipart/related; type="application/dicom"; boundary=b', body


def _packed(batch: Sequence[Instance]) -> tuple[str, str, bytes]:
    with io.BytesIO() as written:
        with zipfile.ZipFile(written, "w") as packed:
            for number, instance in enumerate(batch):
                packed.writestr(f"{number}.dcm", instance.content)
        return "/v1/scans", "application/zip", written.getvalue()


def _stored(answer: dict[str, Any], batch: Sequence[Instance]) -> set[Instance]:
    """Return what the answer names (PS3.18 table 10.5.3-1), in the DICOM JSON model."""
    kept = {
        item["00081155"]["Value"][0] for item in answer.get("00081199", {}).get("Value", ())
    } | {
        item["00081155"]["Value"][0]
        for item in answer.get("00081198", {}).get("Value", ())
        if item["00081197"]["Value"] == [CONFLICT]
    }
    return {each for each in batch if each.sop_uid in kept}


def _unpacked(answer: dict[str, Any], batch: Sequence[Instance]) -> set[Instance]:
    refused = {each["name"] for each in answer["refused"]}
    return {each for number, each in enumerate(batch) if f"{number}.dcm" not in refused}
