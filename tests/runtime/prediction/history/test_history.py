"""What is left to do of an archive: told from results that stand and an index of its files."""

import os
import shutil
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from darnet_trt.errors import cannot_open
from darnet_trt.runtime.prediction.history.history import History
from darnet_trt.runtime.prediction.history.index import INDEX
from darnet_trt.scan.discovery.gather import FoundStudy, Person
from darnet_trt.scan.discovery.places import Place
from darnet_trt.scan.discovery.walk import Listed, Listing


@dataclass(frozen=True)
class Stands:
    """A result that stands, as far as the history asks for it."""

    content: str = "30"
    bundle_sha256: str = "bundle"
    artifact: str = "engine"
    status: str = "ok"
    code: str = ""
    overlay: str | None = None
    dicom: tuple[str, ...] = ()
    unmade: tuple[str, ...] = ()


def listing_of(folder: Path, start: int = 0, end: int | None = None) -> Listing:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    files = [Listed(p, p.stat().st_size, p.stat().st_mtime_ns) for p in paths[start:end]]
    return Listing(folder, tuple(files), last=end is None or end >= len(paths))


def study_of(key: str, *files: Path, content: str = "30") -> FoundStudy:
    return FoundStudy(files[0].parent, "1.2", key, content, files, len(files), False, Person(), b"")


def series(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"slice")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / INDEX


def history(file: Path | None, standing: dict[str, Stands], **options: object) -> History:
    return History(file, standing.get, bundle="bundle", artifact="engine", **options)


def noted(file: Path, standing: dict[str, Stands], listing: Listing, *studies: FoundStudy) -> None:
    """Do a run that meets one listing."""
    with history(file, standing) as run:
        assert not run.unchanged(Place.given(listing.folder), listing)
        run.note(listing, studies)


def is_unchanged(
    file: Path, standing: dict[str, Stands], listing: Listing, **options: bool
) -> bool:
    with history(file, standing, **options) as run:
        return run.unchanged(Place.given(listing.folder), listing)


def test_a_folder_is_unchanged_until_one_of_its_files_is(tmp_path, out):
    folder = series(tmp_path / "in", "1", "2")
    noted(out, {}, listing_of(folder), study_of("study:a", folder / "1", folder / "2"))
    finished = {"study:a": Stands()}
    assert is_unchanged(out, finished, listing_of(folder))
    os.utime(folder / "1", ns=(5, 5))
    assert not is_unchanged(out, finished, listing_of(folder))


@pytest.mark.parametrize("change", ["grown", "new", "gone", "renamed", "replaced"])
def test_a_folder_whose_files_changed_is_read_again(tmp_path, out, change):
    folder = series(tmp_path / "in", "1", "2", "3")
    files = [folder / name for name in "123"]
    noted(out, {}, listing_of(folder), study_of("study:a", *files))
    match change:
        case "grown":
            files[0].write_bytes(b"slices")
        case "new":
            (folder / "4").write_bytes(b"slice")
        case "gone":
            files[0].unlink()
        case "renamed":
            files[2].rename(folder / "0")
        case "replaced":
            files[1].unlink()
            (folder / "4").write_bytes(b"slice")
    assert not is_unchanged(out, {"study:a": Stands()}, listing_of(folder))


@pytest.mark.parametrize(
    ("result", "finished"),
    [
        (Stands(), True),
        (Stands(content="22"), False),
        (Stands(bundle_sha256="other"), False),
        (Stands(artifact="other"), False),
        (Stands(status="refused", code="tilted"), True),
        (Stands(status="failed", code="truncated"), True),
        (Stands(status="failed", code="cannot-open"), False),
        (Stands(status="failed", code="out-of-memory"), False),
    ],
)
def test_a_study_is_finished_by_a_result_of_its_content_bundle_and_engine(
    tmp_path, out, result, finished
):
    folder = series(tmp_path / "in", "1")
    standing = {"study:a": result}
    with history(None, standing) as run:
        assert run.finished("study:a", "30") == finished
        assert not run.finished("study:b", "30")
        assert run.known() == finished
    noted(out, {}, listing_of(folder), study_of("study:a", folder / "1"))
    assert is_unchanged(out, standing, listing_of(folder)) == finished


def test_refused_and_failed_studies_are_tried_again_when_asked(tmp_path, out):
    standing = {
        "refused": Stands(status="refused", code="tilted"),
        "failed": Stands(status="failed", code="truncated"),
    }
    with history(None, standing, retry_refused=True) as run:
        assert [run.finished(key, "30") for key in standing] == [False, True]
    with history(None, standing, retry_failed=True) as run:
        assert [run.finished(key, "30") for key in standing] == [True, False]


def test_an_overlay_that_is_wanted_and_absent_is_made_up():
    standing = {"with": Stands(overlay="a.png"), "without": Stands()}
    with history(None, standing, overlays=True) as run:
        assert [run.finished(key, "30") for key in standing] == [True, False]


@pytest.mark.parametrize(
    ("standing", "finished"),
    [
        (Stands(dicom=("pm", "sr")), True),
        (Stands(dicom=("pm", "sc", "sr")), True),
        (Stands(dicom=("sr",)), False),
        (Stands(), False),
        (Stands(dicom=("sr",), unmade=("pm",)), True),
        (Stands(unmade=("pm",)), False),
        (Stands(status="refused"), False),
        (Stands(status="refused", dicom=("refusal",)), True),
        (Stands(status="failed"), True),
    ],
)
def test_objects_that_are_wanted_and_absent_are_made_up(standing, finished):
    with history(None, {"study:a": standing}, dicom=("sr", "pm", "refusal")) as run:
        assert run.finished("study:a", "30") == finished


def test_objects_that_cannot_be_made_are_tried_again_only_when_asked():
    standing = {"study:a": Stands(unmade=("sr",)), "content:nifti": Stands()}
    with history(None, standing, dicom=("sr",), retry_failed=True) as run:
        assert not run.finished("study:a", "30")
        assert run.finished("content:nifti", "30")


def test_a_run_killed_before_its_result_reads_the_grown_study_again(tmp_path, out):
    folder = series(tmp_path / "in", "1", "2")
    files = [folder / "1", folder / "2"]
    noted(out, {}, listing_of(folder), study_of("study:a", *files, content="30"))
    assert not is_unchanged(out, {"study:a": Stands(content="22")}, listing_of(folder))


def test_a_moved_archive_is_read_again_and_known_by_its_keys(tmp_path, out):
    folder = series(tmp_path / "in", "1")
    noted(out, {}, listing_of(folder), study_of("study:a", folder / "1"))
    moved = folder.rename(tmp_path / "elsewhere")
    with history(out, {"study:a": Stands()}) as run:
        assert not run.unchanged(Place.given(moved), listing_of(moved))
        study = study_of("study:a", moved / "1")
        assert run.elsewhere(study) == []
        assert run.finished(study.key, study.content)


def test_the_other_files_of_a_study_are_known_across_runs_and_places(tmp_path, out):
    first = series(tmp_path / "first", "1", "2", "report.txt")
    noted(out, {}, listing_of(first), study_of("study:a", first / "1", first / "2"))
    second = series(tmp_path / "second", "3")
    (first / "2").unlink()
    with history(out, {}) as run:
        study = study_of("study:a", second / "3")
        run.note(listing_of(second), [study])
        assert run.elsewhere(study) == [first / "1"]
        assert run.elsewhere(study_of("study:b", second / "3")) == []


def test_a_study_of_several_places_is_finished_when_its_whole_content_stands(tmp_path, out):
    places = [series(tmp_path / name, name) for name in ("a", "b")]
    with history(out, {}) as run:
        for folder in places:
            run.note(listing_of(folder), [study_of("study:a", folder / folder.name, content="15")])
        run.note_whole(study_of("study:a", *(f / f.name for f in places), content="30"))
    for folder in places:
        assert is_unchanged(out, {"study:a": Stands("30")}, listing_of(folder))
        assert not is_unchanged(out, {"study:a": Stands("15")}, listing_of(folder))


def test_a_large_folder_is_compared_piece_by_piece(tmp_path, out):
    names = [f"{i:02}" for i in range(10)]
    folder = series(tmp_path / "in", *names)

    def pieces() -> list[Listing]:
        count = len(list(folder.iterdir()))
        return [listing_of(folder, i, i + 4) for i in range(0, count, 4)]

    def unchanged() -> list[bool]:
        with history(out, {"study:a": Stands()}) as run:
            return [run.unchanged(Place.given(folder), piece) for piece in pieces()]

    def note() -> None:
        with history(out, {}) as run:
            for piece in pieces():
                run.unchanged(Place.given(folder), piece)
            for piece in pieces():  # later, as workers finish
                run.note(piece, [study_of("study:a", *(file.path for file in piece.files))])

    note()
    assert unchanged() == [True, True, True]
    (folder / "00").unlink()
    assert unchanged() == [False, True, True]
    note()
    assert unchanged() == [True, True, True]
    (folder / "09").unlink()
    assert unchanged() == [True, False]
    note()
    (folder / "04a").write_bytes(b"slice")
    assert unchanged()[0] is True
    assert unchanged()[1] is False
    note()
    assert unchanged() == [True, True, True]


def test_an_archive_is_one_file_of_its_folder(tmp_path, out):
    folder = series(tmp_path / "in", "study.zip")
    zipped = folder / "study.zip"
    noted(out, {}, listing_of(folder), study_of("study:a", zipped / "1", zipped / "2"))
    assert is_unchanged(out, {"study:a": Stands()}, listing_of(folder))
    with history(out, {}) as run:
        assert run.elsewhere(study_of("study:a", zipped / "1", zipped / "2")) == []
        assert run.elsewhere(study_of("study:a", tmp_path / "3")) == [zipped]


def test_a_named_file_that_lists_others_is_read_again(tmp_path, out):
    folder = series(tmp_path / "in", "DICOMDIR", "1")
    directory = listing_of(folder).files[1:]
    listing = Listing(folder / "DICOMDIR", directory)
    noted(out, {}, listing, study_of("study:a", folder / "1"))
    assert not is_unchanged(out, {"study:a": Stands()}, listing)


def test_a_failure_that_was_mended_or_is_gone_is_told(tmp_path, out):
    broken = Stands(status="failed", code="truncated")
    standing = {"path:cut": broken, "path:whole": broken, "path:stays": broken, "path:shut": broken}
    folders = {name: series(tmp_path / "in" / name, "1") for name in ("cut", "whole", "stays")}
    place = Place.given(tmp_path / "in")
    shut = Listing(
        tmp_path / "in" / "shut",
        (),
        failed=(cannot_open(tmp_path / "in" / "shut", OSError(13, "no")),),
    )
    with history(out, {}) as run:
        for name, folder in folders.items():
            run.unchanged(place, listing_of(folder))
            run.note(listing_of(folder), [study_of(f"path:{name}", folder / "1")])
        run.unchanged(place, shut)
        run.note(shut, [study_of("path:shut", tmp_path / "in" / "shut")])
        assert run.gone([place]) == set()
    shutil.rmtree(folders["cut"])
    (folders["whole"] / "1").write_bytes(b"whole slice")
    series(tmp_path / "in" / "shut", "1")
    with history(out, standing) as run:
        assert run.unchanged(place, listing_of(folders["stays"]))
        for name in ("whole", "shut"):
            folder = tmp_path / "in" / name
            assert not run.unchanged(place, listing_of(folder))
            run.note(listing_of(folder), [study_of(f"study:{name}", folder / "1")])
        assert run.gone([place]) == {"path:cut", "path:whole", "path:shut"}


def test_what_lies_in_a_folder_that_cannot_be_opened_is_not_gone(tmp_path, out):
    folder = series(tmp_path / "in" / "share" / "a", "1")
    noted(out, {}, listing_of(folder), study_of("path:a", folder / "1"))
    share = folder.parent
    place = Place.given(tmp_path / "in")
    with history(out, {"path:a": Stands(status="failed")}) as run:
        run.unchanged(place, Listing(share, (), failed=(cannot_open(share, OSError(5, "gone")),)))
        assert run.gone([place]) == set()


def test_names_that_are_not_utf8_are_kept(tmp_path, out):
    folder = tmp_path / os.fsdecode(b"in\xff\n")
    folder = series(folder, os.fsdecode(b"\xfe\n1"))
    file = next(folder.iterdir())
    noted(out, {}, listing_of(folder), study_of("study:a", file))
    assert is_unchanged(out, {"study:a": Stands()}, listing_of(folder))
    with history(out, {}) as run:
        assert run.elsewhere(study_of("study:a", tmp_path / "b")) == [file]


def test_the_index_is_readable_by_its_owner_only(tmp_path, out):
    folder = series(tmp_path / "in", "1")
    with history(out, {}) as run:
        run.note(listing_of(folder), [study_of("study:a", folder / "1")])
        modes = [stat.S_IMODE(path.stat().st_mode) for path in out.parent.iterdir()]
    assert set(modes) == {0o600}


def _foreign(out: Path) -> None:
    sqlite3.connect(out).executescript("CREATE TABLE piece (a); INSERT INTO piece VALUES (1)")


def _newer(out: Path) -> None:
    with sqlite3.connect(out) as db:
        db.execute("PRAGMA user_version = 99")


def _cut(out: Path) -> None:
    out.write_bytes(out.read_bytes()[:5000])


def _scribbled(out: Path) -> None:
    content = bytearray(out.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    out.write_bytes(content)


def _bad_row(out: Path) -> None:
    with sqlite3.connect(out) as db:
        db.execute("UPDATE piece SET files = x'00'")


@pytest.mark.parametrize(
    "spoil",
    [
        _foreign,
        _newer,
        _cut,
        _scribbled,
        _bad_row,
        lambda out: out.write_text("no database"),
        lambda out: out.write_bytes(b""),
        lambda out: out.chmod(0o400),
        lambda out: (out.unlink(), out.mkdir()),
        lambda out: (out.unlink(), out.symlink_to(out.parent / "other")),
        lambda out: (out.unlink(), os.mkfifo(out)),
    ],
)
def test_an_index_that_is_lost_damaged_or_foreign_is_made_anew(tmp_path, out, spoil):
    folder = series(tmp_path / "in", "1")
    study = study_of("study:a", folder / "1")
    noted(out, {}, listing_of(folder), study)
    out.unlink() if spoil is _foreign else None
    spoil(out)
    with history(out, {"study:a": Stands()}) as run:
        run.unchanged(Place.given(folder), listing_of(folder))
        run.note(listing_of(folder), [study])
        assert run.unchanged(Place.given(folder), listing_of(folder))
        assert run.elsewhere(study_of("study:a", tmp_path / "b")) == [folder / "1"]
