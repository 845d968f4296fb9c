"""Every mistake on the command line is one line on stderr and exit code 2."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from darnet_trt import scan
from tests.cli.command import darnet_trt

COMMAND = Path(sys.executable).with_name("darnet-trt")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["doctor", "--nope"], "No such option: --nope; see 'darnet-trt doctor --help'"),
        (["nope"], "No such command 'nope'; see 'darnet-trt --help'"),
        (["inspect"], "Missing argument 'paths'; see 'darnet-trt inspect --help'"),
        (["inspect", "/no/such/scan"], "/no/such/scan"),
        (["predict", "/no/such/bundle", "/no/such/scan"], "/no/such/bundle"),
        (["build", "/no/such/run", "-o", "/tmp/never"], "/no/such/run"),
    ],
)
def test_a_mistake_is_one_line(arguments, says):
    done = darnet_trt(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_debug_shows_the_traceback_wherever_it_stands():
    for arguments in (["--debug", "export", "/no/such"], ["export", "/no/such", "--debug"]):
        done = darnet_trt(*arguments)
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("darnet-trt: /no/such: ")
        assert done.returncode == 2


def test_what_nobody_foresaw_is_one_line_too(command, monkeypatch, tmp_path):
    def broken(path):
        return {}[path.name]

    monkeypatch.setattr(scan, "find_studies", broken)
    done = command("inspect", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"darnet-trt: internal error: KeyError in inspect\.py:\d+: '.*'; please report it; "
        r"--debug shows where\n",
        done.stderr,
    )


def test_version_and_bare_call_answer():
    assert darnet_trt("--version").stdout.startswith("darnet-trt ")
    bare = darnet_trt()
    assert bare.returncode == 0
    assert "predict" in bare.stdout


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["predict", "--help"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "darnet-trt: stdout: cannot be written (No space left on device)\n"


def test_no_temporary_folder_is_said_so(command, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    monkeypatch.setattr(scan, "find_studies", lambda path: tempfile.gettempdir())
    done = command("inspect", tmp_path)
    assert done.returncode == 2
    assert "stdout" not in done.stderr
    for fact in ("/nowhere", "TMPDIR"):
        assert fact in done.stderr


@pytest.mark.parametrize(
    "words", [("inspect", "/no\x1b[31m\r\x07"), ("inspect", "--no\x1b[31m"), ("no\x1b[31m\u202e",)]
)
def test_no_error_passes_control_characters_on(command, words):
    done = command(*words)
    assert done.returncode == 2
    assert "[31m" in done.stderr
    assert done.stderr.rstrip("\n").isprintable()


def test_closed_streams_are_no_failure(tmp_path):
    shell = 'exec "$0" inspect "$1" >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell, COMMAND, tmp_path], check=False)
    assert done.returncode == 2  # an empty folder


@pytest.mark.parametrize(
    "surroundings",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_terminal_of_few_characters_is_no_failure(surroundings, tmp_path):
    (tmp_path / "scan → 1").mkdir()
    for index in range(12):
        Image.new("L", (32, 32), index).save(tmp_path / "scan → 1" / f"{index}.png")
    done = subprocess.run(
        [COMMAND, "inspect", "--headers-only", tmp_path / "scan → 1"],
        env={**os.environ, **surroundings}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stderr == b""
    assert done.returncode == 0
    assert b"chosen (by headers only): the only series" in done.stdout
