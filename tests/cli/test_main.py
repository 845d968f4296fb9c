"""Every mistake on the command line is one line on stderr and exit code 2."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from darnet_trt import __version__
from darnet_trt.cli import main
from darnet_trt.scan import discovery
from tests.cli.command import COMMAND, darnet_trt
from tests.full_disk import files_up_to


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["doctor", "--nope"], "No such option: --nope; see 'darnet-trt doctor --help'"),
        (["phantom", "c", "--format", "jpeg"], "'--format': 'jpeg' is not one of 'dicom', 'nifti'"),
        (["phantom", "c", "--scans", "x"], "'--scans': 'x' is not a whole number"),
        (["phantom", "c", "--matrix", "2.5"], "'--matrix': '2.5' is not a whole number"),
        (["train", "c", "-o", "r", "--held-out", "x"], "'--held-out': 'x' is not a number"),
        (["train", "c", "-o", "r", "--seed", "-1"], "'--seed': -1 is below 0"),
        (["build", "r", "-o", "b", "--optimization-level", "9"], "9 is above 5"),
        (["nope"], "No such command 'nope'; see 'darnet-trt --help'"),
        (["inspect"], "Missing argument 'PATH'; see 'darnet-trt inspect --help'"),
        (["inspect", "/no/such/scan"], "/no/such/scan"),
        (["predict", "/no/such/bundle", "/no/such/scan"], "/no/such/bundle"),
        (["train", "/no/such/cohort", "-o", "/tmp/never"], "/no/such/cohort: no such file"),
        (["build", "/no/such/run", "-o", "/tmp/never"], "/no/such/run: no such file"),
        (["export", "/no/such/run"], "/no/such/run: no such file"),
        (["predict", "b", "", "-o", "r"], "the word after b is empty; look for a shell variable"),
        (["export", "r", "--out="], "the word after --out= is empty; look for"),
    ],
)
def test_a_mistake_is_one_line(command, arguments, says):
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_debug_shows_the_traceback_anywhere_on_the_line():
    for arguments in (
        ["--debug", "bundle", "show", "/no/such"],
        ["bundle", "show", "/no/such", "--debug"],
    ):
        done = darnet_trt(*arguments)
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("darnet-trt: /no/such: ")
        assert done.returncode == 2


def test_an_unforeseen_error_is_one_line_too(command, monkeypatch, tmp_path):
    def broken(place):
        return {}[place.path.name]

    monkeypatch.setattr(discovery, "search", broken)
    done = command("inspect", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"darnet-trt: .*KeyError in inspect\.py:\d+: '.*--debug.*\n",
        done.stderr,
    )


def test_version_and_bare_call_answer(command):
    version = darnet_trt("--version").stdout
    assert version == f"darnet-trt {__version__}\n"
    assert command("-V").stdout == version
    as_module = subprocess.run(
        [sys.executable, "-m", "darnet_trt", "-V"], capture_output=True, text=True, check=True
    )
    assert as_module.stdout == version
    bare = darnet_trt()
    assert bare.returncode == 0
    assert "predict" in bare.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        *([name] for name in main._COMMANDS),
        *(["bundle", "show"], ["bundle", "check"], ["plugin", "build"], ["plugin", "check"]),
    ],
    ids=" ".join,
)
def test_help_shows_no_type_beside_a_flag(command, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = command(*words, "--help")
    assert done.returncode == 0
    assert "--help" in done.stdout
    for leak in ("bool", "list[", "<", "{", "x>="):
        assert leak not in done.stdout


def test_help_names_arguments_and_values_in_short(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [" ".join(line.split()) for line in command("predict", "--help").stdout.splitlines()]
    assert "Usage: darnet-trt predict [OPTIONS] BUNDLE SCAN..." in lines
    assert any(line.startswith("│ --threads N ") for line in lines)
    assert any(line.startswith("│ --out -o FOLDER ") for line in lines)


def test_help_lists_the_commands_in_the_readmes_order(command):
    listed = re.findall(r"^│ ([a-z]+) ", command("--help").stdout, re.MULTILINE)
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    use = readme.partition("\n## Use\n")[2].partition("\n## ")[0]
    named = re.findall(r"\*\*([a-z]+)[ a-z]*\*\*", use)
    assert listed == list(dict.fromkeys(named))


def test_quiet_leaves_results_warnings_and_errors(command, tmp_path):
    words = ("phantom", tmp_path / "c", "--scans", 1, "--matrix", 48, "--slices", 30)
    done = command(*words, "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert str(tmp_path / "c") in done.stdout
    again = command("--quiet", *words)
    assert again.returncode == 2
    assert again.stderr.startswith(f"darnet-trt: {tmp_path / 'c'}: ")


def test_a_file_called_like_a_flag_follows_two_dashes(command):
    done = command("inspect", "--", "-q")
    assert done.returncode == 2
    assert "-q" in done.stderr
    assert "Missing argument" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "--json"], ["predict", "--schema"]])
def test_a_full_disk_behind_stdout_is_one_line(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("darnet-trt: stdout: ")
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["doctor"], ["predict", "--schema"], ["inspect"]])
def test_a_reader_that_has_gone_ends_a_command_quietly(words, phantom_cohort):
    reading, writing = os.pipe()
    os.close(reading)
    scans = [phantom_cohort] if words == ["inspect"] else []
    done = subprocess.run(
        [COMMAND, *words, *scans], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("stderr", [">/dev/full", ">&-"])
def test_work_continues_without_stderr(stderr, tmp_path):
    out = tmp_path / "c"
    shell = f'exec "$0" phantom "$1" --scans 2 --matrix 48 --slices 30 2{stderr}'
    done = subprocess.run(["sh", "-c", shell, COMMAND, out], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(out / "cohort.csv") in done.stdout


def test_no_folder_for_temporary_files(command, monkeypatch, tiny):
    monkeypatch.setattr(tempfile, "tempdir", None)
    with files_up_to(0):
        done = command("bench", tiny, "--layers", "--rounds", 1)
    assert done.returncode == 2
    assert "TMPDIR" in done.stderr
    assert "/tmp" in done.stderr
    assert "stdout" not in done.stderr


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
def test_characters_that_the_encoding_lacks_are_no_failure(surroundings, tmp_path):
    (tmp_path / "scan → 1").mkdir()
    for index in range(12):
        Image.new("L", (32, 32), index).save(tmp_path / "scan → 1" / f"{index}.png")
    done = subprocess.run(
        [COMMAND, "inspect", "--headers-only", tmp_path / "scan → 1"],
        env={**os.environ, **surroundings}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stderr == b""
    assert done.returncode == 0
    assert b"the only series" in done.stdout
