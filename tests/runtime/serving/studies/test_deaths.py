"""A file that ends the processes that read it costs itself, or its study, and nothing else."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pydicom
import pytest

from darnet_trt.runtime.prediction.pipeline import finding, loading
from darnet_trt.runtime.serving.studies import generation
from darnet_trt.scan.isolated import MODULE
from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.studies import poison
from tests.runtime.serving.studies.service import check_promise, running


def scan(phantom_series: Path, folder: Path, number: int) -> list[Path]:
    return sorted(write_study(phantom_series, folder / f"scan{number}", number).iterdir())


def poisoned(files: list[Path], path: Path) -> Path:
    """A further file of a study."""
    header = pydicom.dcmread(files[0])
    header.SOPInstanceUID = f"{header.StudyInstanceUID}.99"
    header.PixelData = b"poison" + header.PixelData[6:]
    header.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    header.SeriesInstanceUID = f"{header.StudyInstanceUID}.9"
    header.save_as(path)
    return path


@pytest.mark.parametrize(
    ("module", "step", "status"),
    [
        pytest.param(finding, "examine", "ok", marks=pytest.mark.slow),
        pytest.param(generation, "noted", "ok", marks=pytest.mark.slow),
        pytest.param(finding, "gather", "failed", marks=pytest.mark.slow),
    ],
)
def test_a_file_that_ends_each_process_that_reads_it(
    tiny, phantom_series, tmp_path, monkeypatch, module, step, status
):
    monkeypatch.setattr(module, step, getattr(poison, f"{step}_or_die"))
    bad, good = (scan(phantom_series, tmp_path, number) for number in range(2))
    with running(tiny, tmp_path / "state") as made:
        made.send(poisoned(bad, tmp_path / "poison.dcm"))
        studies = [made.send(*files)[0].study for files in (bad, good)]
        views = [made.wait(study) for study in studies]
        assert [view.results[0].status for view in views] == [status, "ok"]
        assert views[1].used == len(good)
        assert views[0].used == (len(bad) if status == "ok" else 0)
        check_promise(made)


def test_processes_that_are_killed_have_a_study_read_again(
    tiny, phantom_series, tmp_path, monkeypatch
):
    """Whatever they do just then; more often than one call is made again."""
    killed = []

    def kill() -> None:
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                if MODULE in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child.pid)

    files = scan(phantom_series, tmp_path, 1)
    with running(tiny, tmp_path / "state") as made:
        for part in (files[:10], files[10:20], files[20:]):
            (study, *_) = {each.study for each in made.send(*part)}
            made.wait(study, lambda view: view.state in ("running", "done"))
            kill()
        view = made.wait(study)
        assert view.results[0].status == "ok"
        assert view.used == len(files)
        check_promise(made)
    assert killed


@pytest.mark.slow
def test_a_disk_that_does_not_read_has_a_result_that_says_so_until_it_does(
    tiny, phantom_series, tmp_path, monkeypatch
):
    monkeypatch.setattr(loading, "load", poison.load_or_fail)
    state = tmp_path / "state"
    with running(tiny, state) as made:
        (state / "broken disk").touch()
        (study, *_) = {each.study for each in made.send(*scan(phantom_series, tmp_path, 1))}
        view = made.wait(study, lambda view: len(view.results) == 1)
        assert view.results[0].code == "disk-error"
        assert view.state != "done"
        assert "Input/output" in view.error
        check_promise(made)
        (state / "broken disk").unlink()
        view = made.wait(study)
        assert (view.results[0].status, view.error) == ("ok", "")
        check_promise(made)
