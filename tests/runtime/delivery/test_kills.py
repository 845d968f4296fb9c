"""SIGKILL between sending an object and noting it makes no second instance, and loses none."""

import subprocess
import sys

import pytest

from tests.runtime.delivery.folders import write_results
from tests.runtime.delivery.orthanc import needs_orthanc
from tests.short import SHORT

pytestmark = needs_orthanc
KILLS = [
    pytest.param(2, id="few"),
    pytest.param(3 if SHORT else 20, id="many", marks=pytest.mark.slow),
]
DELIVER = """
import os, signal, sys
from darnet_trt.cli.main import main
from darnet_trt.runtime.delivery.queue import Queue

note, left = Queue.note, int(sys.argv.pop())

def note_some(self, *words, **more):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    note(self, *words, **more)

Queue.note = note_some
main()
"""


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("way", ["ae", "web"])
def test_killed_before_it_is_noted(command, archive, tmp_path, way, kills):
    out = tmp_path / "out"
    uids = write_results(out, kills)
    send = ["--send", getattr(archive, way)]
    held = set()
    for number in range(kills):
        words = [sys.executable, "-c", DELIVER, "deliver", out, *send, str(number % 3)]
        ended = subprocess.run(list(map(str, words)), capture_output=True, timeout=300)
        assert ended.returncode == -9, ended.stderr
        before, held = held, set(archive.instances())
        assert held >= before
        assert len(archive.instances()) == len(held)
    assert held
    done = command("deliver", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert archive.instances() == uids
    assert len(archive.get("/studies")) == kills
    assert "nothing left" in command("deliver", out).stdout
