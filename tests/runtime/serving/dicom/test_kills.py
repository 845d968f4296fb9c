"""What a peer was told is on the disk, wherever the process is killed."""

import os
import subprocess
import sys
import time

import pytest

from tests.runtime.serving.dicom.senders import needs_dcmtk
from tests.runtime.serving.received import a_file, contents, open_store

SERVE = """
import sys
from pathlib import Path
from darnet_trt.runtime.serving.dicom.scp import DicomDoor
from darnet_trt.runtime.serving.settings import DicomSettings
from tests.runtime.serving.received import open_store
door = DicomDoor(DicomSettings(port=0), open_store(Path(sys.argv[1])).store)
print(door.port, flush=True)
sys.stdin.read()
"""
SENDERS, SLICES, A_KILL = 4, 100, 8


def begin_sending(port, files, log):
    command = ["storescu", "-v", "127.0.0.1", str(port), *files]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with log.open("wb") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment)


def answered(log):
    return log.read_text().count("Received Store Response (Success)")


@needs_dcmtk
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_acknowledged_slices_survive_a_kill(tmp_path, kills):
    """Four associations; two send the same study."""
    waiting, acknowledged = [], set()
    for sender in range(SENDERS):
        folder = tmp_path / str(sender)
        folder.mkdir()
        for number in range(SLICES):
            content = a_file(number, study=f"1.2.{sender % 3}")
            (folder / f"{number:03d}.dcm").write_bytes(content)
        waiting.append(sorted(folder.iterdir()))
    for kill in range(kills):
        command = [sys.executable, "-c", SERVE, tmp_path / "state"]
        process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
        port = int(process.stdout.readline())
        logs = [tmp_path / f"{sender}.log" for sender in range(SENDERS)]
        senders = [
            begin_sending(port, files, log) for files, log in zip(waiting, logs, strict=True)
        ]
        until = time.monotonic() + 60
        while sum(map(answered, logs)) < A_KILL + kill and time.monotonic() < until:
            time.sleep(0.001)
        process.kill()
        process.communicate()
        for each in senders:
            each.wait(60)
        for files, log in zip(waiting, logs, strict=True):
            done = answered(log)
            acknowledged.update(path.read_bytes() for path in files[:done])
            del files[:done]
    assert len(acknowledged) >= A_KILL
    kept = contents(open_store(tmp_path / "state").store).values()
    data = {content[content.index(b"\x08\0\x08\0CS") :] for content in kept}
    assert len(data) == len(kept)  # no slice is there twice
    assert {content[content.index(b"\x08\0\x08\0CS") :] for content in acknowledged} <= data
