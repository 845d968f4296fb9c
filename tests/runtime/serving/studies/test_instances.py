"""An instance counts in one study only: the one that had it first."""

from __future__ import annotations

import shutil
from array import array
from collections import Counter

import pydicom
import pytest

from darnet_trt.runtime.serving.intake.names import conflict_file, slice_file
from darnet_trt.runtime.serving.studies import instances
from darnet_trt.runtime.serving.studies.instances import Instances, numbers
from tests.runtime.prediction.pipeline.studies import write_study
from tests.runtime.serving.studies.service import check_promise, running

FILES = [slice_file(f"1.2.{number}") for number in range(60)]


@pytest.mark.parametrize("merge", [0, 7, 1000])
def test_which_came_twice(monkeypatch, merge):
    monkeypatch.setattr(instances, "_MERGE", merge)
    known, came = Instances(), Counter[str]()
    known.fill(array("Q", [*numbers(FILES[:20]), *numbers(FILES[10:12])]))
    came.update([*FILES[:20], *FILES[10:12]])
    for number in range(30):
        file = FILES[number * 7 % 50]
        known.add(file)
        came[file] += 1
    known.add("scan.nii.gz")
    known.add(conflict_file("1.2.55", b"other"))
    known.add(FILES[55])
    assert known.twice(FILES) == {file for file, count in came.items() if count > 1}
    once = [file for file, count in came.items() if count == 1]
    known.remove(once[:3])
    for file in once:
        known.add(file)
    assert known.twice(once) == set(once[3:])
    assert known.twice([]) == Instances().twice(FILES) == set()


def test_what_came_in_another_study_before_is_refused(tiny, phantom_series, tmp_path):
    files = sorted(write_study(phantom_series, tmp_path / "scan", 1).iterdir())
    shutil.copytree(tmp_path / "scan", tmp_path / "more")
    more = sorted((tmp_path / "more").iterdir())
    for number, file in enumerate(more):
        header = pydicom.dcmread(file)
        header.StudyInstanceUID, header.SeriesInstanceUID = "2.25.2", "2.25.2.1"
        if number > 1:
            header.SOPInstanceUID = f"2.25.2.1.{number}"
            header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        header.save_as(file)
    with running(tiny, tmp_path / "state") as made:
        (first,) = {each.study for each in made.send(*files)}
        (second,) = {each.study for each in made.send(*more[:-1])}
        for study, used, refused in ((first, len(files), 0), (second, len(more) - 3, 2)):
            view = made.wait(study)
            assert (view.used, view.refused) == (used, refused)
        made.send(more[-1])
        view = made.wait(second, lambda v: v.received == len(more) and v.state == "done")
        assert (view.used, view.refused) == (len(more) - 2, 2)
        twice = [one for one in made.studies.instances(second) if one.fate == "refused"]
        assert {one.sop_uid for one in twice} <= {
            one.sop_uid for one in made.studies.instances(first)
        }
        assert all("another study" in one.why for one in twice)
        shutil.copytree(tmp_path / "scan", tmp_path / "moved")
        for file in (moved := sorted((tmp_path / "moved").iterdir())):
            header = pydicom.dcmread(file)
            header.StudyInstanceUID = "2.25.3"
            header.save_as(file)
        (third,) = {each.study for each in made.send(*moved)}
        view = made.wait(third)
        assert (view.used, view.refused) == (0, len(moved))
        (result,) = view.results
        assert "another study" in result.reason
        check_promise(made)
