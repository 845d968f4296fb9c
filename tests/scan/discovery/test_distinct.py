"""Each scan is taken once, under whatever names and links it is reached."""

from pathlib import Path

import pytest

from darnet_trt.scan import find_studies
from darnet_trt.scan.discovery import distinct_paths, unseen


def test_what_lies_in_a_named_folder_is_not_searched_again(phantom_cohort):
    scan = phantom_cohort / "P0001" / "1"
    slice_ = next(scan.iterdir())
    assert distinct_paths([slice_, phantom_cohort, scan]) == [phantom_cohort]
    assert distinct_paths([slice_, scan, phantom_cohort / "P0001" / "2"]) == [
        scan,
        phantom_cohort / "P0001" / "2",
    ]


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


@pytest.mark.parametrize("name", [".hidden/scan.dcm", "scan.gz", "nowhere", ".scan.dcm", "loop"])
def test_what_a_search_skips_is_reported_when_named(tmp_path, name):
    if name == "loop":
        (tmp_path / name).symlink_to(name)
    elif name != "nowhere":
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    named = [tmp_path, tmp_path / name]
    assert distinct_paths(named) == named


def test_a_study_reached_again_through_links_is_not_new(phantom_cohort, tmp_path):
    (tmp_path / "worklist").mkdir()
    (tmp_path / "worklist" / "first").symlink_to(phantom_cohort / "P0001" / "1")
    (tmp_path / "single").mkdir()
    for file in (phantom_cohort / "P0001" / "2").iterdir():
        (tmp_path / "single" / file.name).symlink_to(file)
    seen: set[str] = set()
    assert len(unseen(find_studies(tmp_path), seen)) == 2
    assert unseen(find_studies(phantom_cohort), seen) == []


def test_a_study_with_one_seen_series_is_new(phantom_cohort):
    seen: set[str] = set()
    scan = phantom_cohort / "P0001" / "1"
    unseen(find_studies(next(scan.iterdir())), seen)
    assert len(unseen(find_studies(scan), seen)) == 1
