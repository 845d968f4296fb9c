"""Changes in folders, noticed by our own clock."""

import os
import shutil
from pathlib import Path

import pytest

from darnet_trt.runtime.prediction.history.changes import RELIST_S, Changes

SETTLE_S = 60.0
STEP_S = 2.0


class Watch:
    """Changes below a folder, and a clock that only the test moves."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, 1000.0
        self.changes = Changes([root], SETTLE_S, lambda: self.now)

    def wait(self, seconds: float) -> list[Path] | None:
        """Look every two seconds until it is time to search, at most so long."""
        end = self.now + seconds
        while not self.changes.look():
            if self.now >= end:
                return None
            self.now += STEP_S
        return self.changes.take()


@pytest.fixture
def watch(tmp_path):
    for name in ("a", "b/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1").write_bytes(b"slice")
    return Watch(tmp_path)


@pytest.fixture
def quiet(watch):
    """All was told, long ago."""
    assert watch.wait(2 * SETTLE_S)
    assert watch.wait(100 * SETTLE_S) is None
    return watch


def test_what_is_there_comes_once_and_after_the_quiet_time(watch):
    start = watch.now
    assert watch.wait(2 * SETTLE_S) == [watch.root / "a", watch.root / "b/c"]
    assert watch.now - start >= SETTLE_S
    assert watch.wait(10 * SETTLE_S) is None


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("change", ["new", "grown", "new folder", "gone", "renamed", "swapped"])
def test_each_change_is_told_whatever_the_times_say(quiet, change, frozen):
    """Also where a folder's time, or a file's, never changes."""
    folder, file = quiet.root / "a", quiet.root / "a" / "1"
    times = {path: path.stat().st_mtime_ns for path in (quiet.root, folder, file)}
    match change:
        case "new":
            (folder / "2").write_bytes(b"slice")
        case "grown":
            file.write_bytes(b"slices")
        case "new folder":
            folder = quiet.root / "new"
            folder.mkdir()
            (folder / "1").write_bytes(b"slice")
        case "gone":
            file.unlink()
        case "renamed":
            file.rename(folder / "2")
        case "swapped":
            (folder / "other").write_bytes(b"SLICE")
            (folder / "other").rename(file)
    if frozen:
        for path, time in times.items():
            if path.exists():
                os.utime(path, ns=(time, time))
    assert folder in (quiet.wait(2 * RELIST_S) or [])


def test_a_second_change_at_the_same_time_is_told(watch):
    """Where times are coarse: the folder's time is the same when the second file comes."""
    folder = watch.root / "a"
    time = folder.stat().st_mtime_ns
    watch.changes.look()
    watch.now += STEP_S
    (folder / "2").write_bytes(b"slice")
    os.utime(folder, ns=(time, time))
    watch.wait(2 * SETTLE_S)
    (folder / "3").write_bytes(b"slice")
    os.utime(folder, ns=(time, time))
    assert watch.wait(4 * SETTLE_S) == [folder]


def test_a_new_file_in_an_old_folder_is_noticed_at_the_next_look(quiet):
    (quiet.root / "a" / "2").write_bytes(b"slice")
    assert not quiet.changes.look()
    assert quiet.changes.changed_at([quiet.root / "a" / "2"]) == quiet.now


def test_a_folder_that_never_rests_is_told_all_the_same(watch):
    told = []
    for number in range(100):
        (watch.root / "a" / f"new {number}").write_bytes(b"slice")
        told.append(watch.wait(0))
        watch.now += STEP_S
    assert sum(folders is not None for folders in told) > 1


def test_each_file_has_a_time_of_its_own(quiet):
    (quiet.root / "a" / "2").write_bytes(b"slice")
    quiet.changes.look()
    before, quiet.now = quiet.now, quiet.now + 10
    (quiet.root / "a" / "3").write_bytes(b"slice")
    quiet.changes.look()
    times = [quiet.changes.changed_at([quiet.root / "a" / name]) for name in "23"]
    assert times == [before, before + 10]


def test_what_is_not_followed_never_changed(quiet):
    assert quiet.changes.changed_at([Path("/elsewhere/1")]) == float("-inf")


def test_a_file_in_an_archive_changes_with_it(quiet):
    (quiet.root / "a" / "study.zip").write_bytes(b"archive")
    quiet.changes.look()
    assert quiet.changes.changed_at([quiet.root / "a" / "study.zip" / "1" / "2"]) == quiet.now


def test_folders_that_go_and_circles_end_nothing(watch):
    (watch.root / "a" / "round").symlink_to(watch.root)
    watch.changes.look()
    shutil.rmtree(watch.root / "b")
    assert watch.wait(2 * SETTLE_S) == [watch.root / "a"]
    watch.root.rename(watch.root.with_name("away"))
    assert watch.wait(10) is None
    watch.root.with_name("away").rename(watch.root)
    assert watch.wait(2 * SETTLE_S) == [watch.root / "a"]
