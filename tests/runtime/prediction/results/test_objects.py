"""Objects stand beside their line: none without one, whatever ends the run, and none left over."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from darnet_trt.errors import OutputError
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.lines import read_results
from darnet_trt.runtime.prediction.results.result import Made, Result
from tests.full_disk import files_up_to
from tests.runtime.prediction.results.test_result import result


@pytest.fixture(autouse=True)
def own_key(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


def with_objects(name: str, *kinds: str, content: bytes = b"object", **changes: object) -> Result:
    made = tuple(
        Made(kind, f"1.2.{number}", f"2.25.{number}", "2.25.9", content)
        for number, kind in enumerate(kinds)
    )
    return result(name, made=made, **changes)


def fill(folder: Path, *results: Result, **options: bool) -> list[Result]:
    with ResultFolder(folder, **options) as opened:
        return [opened.add(each) for each in results]


def files(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in (folder / "dicom").rglob("*") if not f.is_dir()}


def named(folder: Path) -> set[str]:
    return {each.file for result in read_results(folder) for each in result.dicom}


def test_objects_are_written_for_their_owner_alone_and_named_in_the_line(tmp_path):
    (written,) = fill(tmp_path, with_objects("a", "sr", "pm", "sc"))
    assert [Path(each.file).name for each in written.dicom] == ["sr.dcm", "pm.dcm", "sc.dcm"]
    line = json.loads((tmp_path / "results.jsonl").read_text())
    assert "made" not in line
    assert line["dicom"][1] == {
        "kind": "pm",
        "sop_class": "1.2.1",
        "sop_uid": "2.25.1",
        "series_uid": "2.25.9",
        "file": written.dicom[1].file,
    }
    for file in named(tmp_path):
        assert (tmp_path / file).read_bytes() == b"object"
        assert stat.S_IMODE((tmp_path / file).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / file).parent.stat().st_mode) == 0o700


def test_a_result_that_is_replaced_takes_its_objects_with_it(tmp_path):
    fill(tmp_path, with_objects("a", "sr", "pm"), with_objects("b", "sr"))
    fill(tmp_path, with_objects("a", "sr", content=b"another"), resume=True)
    assert files(tmp_path) == named(tmp_path)
    assert len(files(tmp_path)) == 2
    fill(tmp_path, result("a"), result("b"), resume=True)
    assert not (tmp_path / "dicom").exists()


def test_the_same_objects_again_stay(tmp_path):
    fill(tmp_path, with_objects("a", "sr", "pm"))
    before = files(tmp_path)
    fill(tmp_path, with_objects("a", "sr", "pm"), resume=True)
    assert files(tmp_path) == named(tmp_path) == before


def test_objects_go_with_a_result_that_is_dropped(tmp_path):
    fill(tmp_path, with_objects("a", "sr"), with_objects("b", "sr"))
    with ResultFolder(tmp_path, resume=True) as folder:
        folder.drop(["study:a"])
    assert files(tmp_path) == named(tmp_path)
    assert len(files(tmp_path)) == 1


def test_kinds_whose_files_are_gone_are_missing(tmp_path):
    (written,) = fill(tmp_path, with_objects("a", "sr", "sc"))
    (tmp_path / written.dicom[1].file).unlink()
    with ResultFolder(tmp_path, resume=True) as folder:
        assert folder.standing("study:a").dicom == ("sr",)


def test_objects_without_a_line_are_removed_and_other_files_stay(tmp_path):
    fill(tmp_path, with_objects("a", "sr"))
    kept = named(tmp_path)
    for name in ("dicom/x_12345678.objects/sr.dcm", "dicom/x_12345678.objects/.pm.dcm.4711"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dicom/y_12345678.objects").mkdir()
    mine = {"dicom/x_12345678.objects/mine.txt", "dicom/mine/sr.dcm", "dicom/sr.dcm"}
    for name in mine:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    fill(tmp_path, resume=True)
    assert files(tmp_path) == kept | mine
    assert not (tmp_path / "dicom/y_12345678.objects").exists()


def test_a_disk_without_room_for_an_object_keeps_what_was_finished(tmp_path):
    fill(tmp_path, with_objects("a", "sr"))
    before = files(tmp_path)
    with ResultFolder(tmp_path, resume=True) as folder:
        big = with_objects("b", "sr", "pm", content=bytes(2**20))
        with files_up_to(2**19), pytest.raises(OutputError, match=r"sr\.dcm"):
            folder.add(big)
    assert [r.scan for r in read_results(tmp_path)] == ["a"]
    assert files(tmp_path) == named(tmp_path) == before


def test_a_line_that_cannot_be_written_leaves_no_object(tmp_path):
    fill(tmp_path, with_objects("a", "sr"))
    with ResultFolder(tmp_path, resume=True) as folder:
        (tmp_path / "results.jsonl").rename(tmp_path / "moved")
        with pytest.raises(OutputError):
            folder.add(with_objects("b", "sr"))
        (tmp_path / "moved").rename(tmp_path / "results.jsonl")
    assert files(tmp_path) == named(tmp_path)


KILLED = """
import os, shutil, sys
from pathlib import Path
from tests.runtime.prediction.results.test_objects import fill, with_objects, result

root = Path(sys.argv[1])
steps = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.truncate"}
left = -1

def step(event, arguments):
    global left
    if left > 0 and event in steps:
        left -= 1
        if left == 0:
            os._exit(9)

sys.addaudithook(step)
fill(root / "start", with_objects("a", "sr", "pm"), with_objects("b", "sr"))
for number in range(1, 1000):
    copy = root / f"{number:03}"
    shutil.copytree(root / "start", copy)
    child = os.fork()
    if child == 0:
        left = number
        new = with_objects("a", "sr", "pm", "sc", content=b"new"), with_objects("c", "refusal")
        fill(copy, *new, result("b", status="failed"), resume=True)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def test_a_kill_at_any_step_leaves_no_line_without_its_objects_and_the_next_run_nothing_else(
    tmp_path,
):
    words = [sys.executable, "-W", "ignore", "-c", KILLED, tmp_path]
    subprocess.run(words, check=True)
    copies = sorted(tmp_path.glob("[0-9]*"))
    assert len(copies) > 40
    answers = set()
    for copy in copies:
        assert named(copy) <= files(copy), copy
        fill(copy, resume=True)
        assert files(copy) == named(copy), copy
        assert not list(copy.glob("**/.*")), copy
        answers.add(tuple((r.scan, r.status, len(r.dicom)) for r in read_results(copy)))
    assert (("a", "ok", 2), ("b", "ok", 1)) in answers
    assert (("a", "ok", 3), ("c", "ok", 1), ("b", "failed", 0)) in answers


def test_what_another_version_could_not_make_is_tried_again(tmp_path):
    fill(tmp_path, result("a", dicom_unmade=("pm",)))
    fill(tmp_path, result("b", dicom_unmade=("pm",), toolkit="0.0.1"), resume=True)
    with ResultFolder(tmp_path, resume=True) as folder:
        assert [folder.standing(f"study:{name}").unmade for name in "ab"] == [("pm",), ()]
