"""The systemd unit and the container file name what there is."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from darnet_trt.cli.main import app

PACKAGING = Path(__file__).parents[1] / "packaging"
UNIT = PACKAGING / "darnet-trt.service"


def options_of_serve():
    serve = typer.main.get_command(app).commands["serve"]
    return {name for parameter in serve.params for name in parameter.opts}


def commands():
    """The words behind `darnet-trt` in both files."""
    unit = UNIT.read_text().replace("\\\n", " ")
    yield shlex.split(re.search("^ExecStart=(.*)$", unit, re.M)[1])[1:]
    container = (PACKAGING / "Containerfile").read_text().replace("\\\n", " ")
    yield re.findall('"([^"]*)"', re.search(r"^CMD \[(.*)\]$", container, re.M)[1])


@pytest.mark.parametrize("words", [*commands()], ids=["unit", "container"])
def test_their_options_exist(words):
    assert words[0] == "serve"
    given = {word for word in words if word.startswith("--")}
    assert {"--state", "--token-file"} <= given <= options_of_serve()


def test_the_container_is_nobody_in_particular():
    lines = (PACKAGING / "Containerfile").read_text().splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("USER root", "USER 0")
    assert not any(line.startswith("RUN") for line in lines[lines.index(users[-1]) :])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_reads_the_unit_and_finds_it_closed(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text().replace("/opt/darnet-trt/bin/darnet-trt", shutil.which("true"))
    )
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert verified.returncode == 0
    assert unit.name not in verified.stderr
    exposure = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit],
        capture_output=True, text=True,
    )  # fmt: skip
    assert exposure.returncode == 0, exposure.stdout
