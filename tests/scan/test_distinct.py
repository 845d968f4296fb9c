from pathlib import Path

import pytest

from darnet_trt.phantom import CohortPlan, write_cohort
from darnet_trt.scan import find_studies
from darnet_trt.scan.distinct import distinct_paths, unseen


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """P0001/1 and P0001/2, DICOM."""
    folder = tmp_path_factory.mktemp("distinct") / "cohort"
    write_cohort(CohortPlan(scans=2, matrix=32, slices=(30, 30)), folder, processes=1)
    return folder


def test_what_lies_in_a_named_folder_is_not_searched_again(cohort):
    scan = cohort / "P0001" / "1"
    slice_ = next(scan.iterdir())
    assert distinct_paths([slice_, cohort, scan]) == [cohort]
    assert distinct_paths([slice_, scan, cohort / "P0001" / "2"]) == [scan, cohort / "P0001" / "2"]


def test_a_name_that_only_begins_alike_is_another_folder(tmp_path):
    for name in ("scan", "scan2"):
        (tmp_path / name).mkdir()
    both = [tmp_path / "scan", tmp_path / "scan2"]
    assert distinct_paths(both) == both


def test_one_place_under_several_names_goes_by_the_first(tmp_path, monkeypatch):
    (tmp_path / "scan").mkdir()
    (tmp_path / "link").symlink_to("scan")
    monkeypatch.chdir(tmp_path)
    names = [Path("link"), Path("scan"), tmp_path / "scan", Path("scan/../link/")]
    assert distinct_paths(names) == [Path("link")]


@pytest.mark.parametrize("name", [".hidden/scan.dcm", "scan.gz", "nowhere", ".scan.dcm"])
def test_what_a_search_passes_by_is_still_told_when_named(tmp_path, name):
    if name != "nowhere":
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    named = [tmp_path, tmp_path / name]
    assert distinct_paths(named) == named


def test_a_loop_of_links_is_kept_to_be_told(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert distinct_paths([tmp_path / "loop", tmp_path]) == [tmp_path / "loop", tmp_path]


def test_a_study_that_links_lead_to_again_is_no_new_one(cohort, tmp_path):
    (tmp_path / "worklist").mkdir()
    (tmp_path / "worklist" / "first").symlink_to(cohort / "P0001" / "1")
    (tmp_path / "single").mkdir()
    for file in (cohort / "P0001" / "2").iterdir():
        (tmp_path / "single" / file.name).symlink_to(file)
    seen: set[str] = set()
    assert len(unseen(find_studies(tmp_path), seen)) == 2
    assert unseen(find_studies(cohort), seen) == []


def test_a_study_of_which_one_series_was_seen_is_a_new_one(cohort):
    seen: set[str] = set()
    scan = cohort / "P0001" / "1"
    unseen(find_studies(next(scan.iterdir())), seen)
    assert len(unseen(find_studies(scan), seen)) == 1
