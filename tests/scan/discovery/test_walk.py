"""A place is listed folder by folder; what cannot be listed is said and ends nothing."""

import os
import shutil
from pathlib import Path

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.scan.discovery import Place, count_files, examine, gather, listings, walk
from tests.permissions import obeyed
from tests.scan.discovery.streams import found, streamed, usable
from tests.scan.discovery.test_archives import zipped
from tests.scan.series_factory import write_series


def written(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def listed(path):
    return list(listings(Place.given(path)))


def names(path):
    """Return the files of each listing, relative to the place."""
    return [[str(file.path.relative_to(path)) for file in one.files] for one in listed(path)]


def test_folders_come_in_the_order_of_their_names_each_with_its_files(tmp_path):
    written(tmp_path, "b/2", "b/10", "b/a/1", "a/x", "z", ".hidden/1", "c/d/e")
    assert names(tmp_path) == [["z"], ["a/x"], ["b/10", "b/2"], ["b/a/1"], ["c/d/e"]]
    first = listed(tmp_path)[0]
    assert first.ignored == {"hidden": 1}
    assert (first.folder, first.root, first.last, first.named) == (tmp_path, tmp_path, True, False)
    (file,) = first.files
    assert (file.size, file.mtime_ns) == (1, (tmp_path / "z").stat().st_mtime_ns)
    assert count_files(Place.given(tmp_path)) == 6


def test_a_large_folder_comes_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(walk, "PIECE", 3)
    written(tmp_path, *"abcdefg", "sub/h", ".i")
    assert names(tmp_path) == [["a", "b", "c"], ["d", "e", "f"], ["g"], ["sub/h"]]
    assert [one.last for one in listed(tmp_path)] == [False, False, True, True]
    assert [one.ignored.total() for one in listed(tmp_path)] == [1, 0, 0, 0]
    (tmp_path / "g").unlink()
    assert [one.last for one in listed(tmp_path)] == [False, True, True]
    monkeypatch.setattr(walk, "PIECE_BYTES", 1)
    assert names(tmp_path) == [["a", "b"], ["c", "d"], ["e", "f"], ["sub/h"]]


def test_a_folder_that_many_links_lead_to_is_listed_once(tmp_path):
    written(tmp_path, "a/1", "b/2")
    (tmp_path / "a" / "above").symlink_to("..")
    (tmp_path / "a" / "beside").symlink_to("../b")
    (tmp_path / "c").symlink_to("b")
    (tmp_path / "circle").symlink_to("circle")
    assert names(tmp_path) == [[], ["a/1"], ["a/beside/2"]]
    assert listed(tmp_path)[0].ignored == {"broken link": 1}
    assert count_files(Place.given(tmp_path)) == 3


def test_any_name_is_listed(tmp_path):
    odd = ["two\nlines/1\n.dcm", os.fsdecode(b"\xff\xfe/\x80.dcm"), " / .dcm", "①/²"]
    written(tmp_path, *odd)
    assert sorted(name for one in names(tmp_path) for name in one) == sorted(odd)
    failed = found(tmp_path)
    assert len({study.key for study in failed}) == len(failed) == 3  # and a text
    assert not any(map(usable, failed))


def test_a_file_is_a_listing_of_its_own(tmp_path):
    written(tmp_path, "a", "b")
    (only,) = listed(tmp_path / "a")
    assert (only.folder, only.root, only.named) == (tmp_path / "a", tmp_path, True)
    assert [file.path for file in only.files] == [tmp_path / "a"]
    assert count_files(Place.given(tmp_path / "a")) == 1


def test_a_part_of_an_archive_is_a_listing_of_its_own(tmp_path):
    write_series(tmp_path / "plain" / "scan")
    archive = zipped(tmp_path / "plain")
    (only,) = listed(archive / "scan")
    assert (only.folder, only.named) == (archive / "scan", True)
    assert [file.path for file in only.files] == [archive]
    (study,) = gather([examine(only)]).studies
    assert study.path == archive / "scan"
    for name in ("scam", "scan/IM0000.dcm/x"):
        with pytest.raises(UsageError):
            listed(archive / name)


@pytest.mark.parametrize("name", ["nothing", "file/nothing"])
def test_a_place_that_is_not_there(tmp_path, name):
    written(tmp_path, "file")
    with pytest.raises(UsageError):
        listed(tmp_path / name)
    assert count_files(Place(tmp_path / name, tmp_path)) == 0


@pytest.mark.parametrize("name", ["pipe", "circle", "closed/file", "cut.zip/a"])
def test_a_place_that_cannot_be_opened_is_a_failure(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    written(tmp_path, "closed/file")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4" + bytes(90))
    (tmp_path / "closed").chmod(0)
    try:
        with obeyed():
            (only,) = listings(Place(tmp_path / name, tmp_path))
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert only.files == ()
    (study,) = gather([examine(only)]).studies
    assert study.path == (tmp_path / "cut.zip" if "zip" in name else tmp_path / name)
    assert not usable(study)


def test_a_folder_that_may_not_be_read_is_a_failure(tmp_path):
    written(tmp_path, "a/1", "b/2", "c/3")
    (tmp_path / "b").chmod(0)
    try:
        with obeyed():
            every = listed(tmp_path)
    finally:
        (tmp_path / "b").chmod(0o700)
    assert [len(one.files) for one in every] == [1, 0, 1]
    assert [error.code for error in every[1].failed] == ["cannot-open"]


def after(path: Path, folder: str, do):
    """List a place; when that folder was listed, do something first."""
    every = []
    for one in listings(Place.given(path)):
        every.append(one)
        if one.folder == path / folder:
            do()
    return every


def test_a_folder_that_vanishes_is_one_failure(tmp_path):
    written(tmp_path, "a/1", "b/c/2", "b/d/3", "b/e/4", "f/5")
    every = after(tmp_path, "b/c", lambda: shutil.rmtree(tmp_path / "b"))
    assert [str(one.folder.relative_to(tmp_path)) for one in every] == ["a", "b/c", "b", "f"]
    assert [len(one.failed) for one in every] == [0, 0, 1, 0]
    gone = every[2]
    assert gone.failed[0].where == str(tmp_path / "b")
    (study,) = gather([examine(gone)]).studies
    assert (study.path, study.files) == (tmp_path / "b", (tmp_path / "b",))
    assert not usable(study)


def test_a_root_that_vanishes_is_one_failure(tmp_path):
    root = tmp_path / "root"
    written(root, *(f"{index:03}/1" for index in range(50)))
    every = after(root, "002", lambda: shutil.rmtree(root))
    assert [str(one.folder.relative_to(root)) for one in every] == ["000", "001", "002", "."]
    assert len(every[-1].failed) == 1


def test_a_folder_that_is_gone_when_it_is_examined_is_one_failure(tmp_path):
    write_series(tmp_path / "a")
    (listing,) = listed(tmp_path)
    shutil.rmtree(tmp_path / "a")
    gathered = gather([examine(listing)])
    (study,) = gathered.studies
    assert study.path == tmp_path / "a"
    assert gathered.counts.unread == 1


def test_a_folder_without_a_scan_says_what_is_in_it(tmp_path):
    written(tmp_path, "notes.txt", "sub/more.txt")
    gathered = streamed(tmp_path)
    assert gathered.studies == ()
    assert gathered.counts.ignored == {"text": 2}


def test_only_the_folders_that_are_named_are_listed(tmp_path):
    written(tmp_path, "top", "a/1", "a/b/2", "c/3", "d/e/4")
    place = Place(tmp_path, tmp_path, only=(".", "a/b", "d", "d/e"))
    found = [[os.path.relpath(f.path, tmp_path) for f in one.files] for one in listings(place)]
    assert found == [["top"], ["a/b/2"], ["d/e/4"]]
    assert count_files(place) == 3
