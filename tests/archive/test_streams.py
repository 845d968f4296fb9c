"""A stdout or stderr that is full, closed or left at any moment costs no result on disk."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from tests.archive.runs import facts, finish, left_behind, start, words

STREAMS = ["full", "closed", "left at once", "left after some lines"]


def command_with(way: str, stream: str, command: list[str]) -> list[str]:
    """Return the command with one stream full or closed from the beginning."""
    number = {"stdout": 1, "stderr": 2}[stream]
    to = {"full": f"{number}>/dev/full", "closed": f"{number}>&-"}[way]
    return ["sh", "-c", f'exec "$@" {to}', "sh", *command]


def run_with(way: str, stream: str, command: list[str], log: Path) -> int:
    """Run a command whose stdout or stderr cannot be written, and return its exit code."""
    if way in ("full", "closed"):
        return finish(command_with(way, stream, command), log)[0]
    reading, writing = os.pipe()
    run = start(command, log, **{stream: writing})
    os.close(writing)

    def leave() -> None:
        with os.fdopen(reading, "rb") as lines:
            for _ in range(0 if way == "left at once" else 5):
                lines.readline()

    reader = threading.Thread(target=leave)
    reader.start()
    code = run.end()
    reader.join()
    return code


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.slow
@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_all_results_are_on_disk(archive, tiny_engine, tmp_path, way, stream):
    place, expected = archive(24)
    out = tmp_path / "out"
    code = run_with(way, stream, words(tiny_engine, place, out, "--json"), tmp_path / "log")
    assert facts(out) == expected
    assert left_behind(out) == set()
    lost = stream == "stdout" and way != "closed"  # who closes it wants nothing of it
    assert (code != 0) == lost


@pytest.mark.slow
def test_both_are_closed_during_the_run(archive, tiny_engine, tmp_path):
    place, expected = archive(24)
    out = tmp_path / "out"
    reading, writing = os.pipe()
    command = words(tiny_engine, place, out, "--json")
    process = subprocess.Popen(command, stdout=writing, stderr=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        lines.readline()
    assert process.wait() != 0
    assert facts(out) == expected
