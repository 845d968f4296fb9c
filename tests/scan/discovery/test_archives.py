"""Scans in zip archives, and DICOM files packed with gzip, are found as in folders."""

import gzip
import json
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise

import numpy as np
import pytest

from darnet_trt.errors import UnreadableScanError, UsageError
from darnet_trt.scan import Preprocessing, find_studies, load_study
from darnet_trt.scan.discovery import distinct_paths, search, unseen
from darnet_trt.scan.pictures import decode_grey
from tests.machine.test_archives import listing, overlapping, ratio
from tests.scan.dicom.test_directory import write_directory
from tests.scan.pictures.picture_files import grey
from tests.scan.pictures.picture_files import write as write_pictures
from tests.scan.series_factory import chest, only, series_of, write_series

SPEC = Preprocessing(size=(16, 32, 32))


def zipped(folder, archive=None):
    """Pack a folder's content into an archive beside it."""
    path = shutil.make_archive(str(archive or folder), "zip", folder)
    return folder.with_name(path.rsplit("/", 1)[-1])


def array(path):
    (study,) = find_studies(path)
    return load_study(study, SPEC)[1].array


@pytest.fixture
def scan(tmp_path):
    write_series(tmp_path / "plain" / "scan")
    return tmp_path / "plain"


def test_a_series_in_an_archive_gives_the_same_input(scan):
    archive = zipped(scan)
    (study,) = find_studies(archive)
    assert study.path == archive / "scan"
    assert study.series[0].verdict.reason == only(scan).verdict.reason
    np.testing.assert_array_equal(array(archive), array(scan))
    np.testing.assert_array_equal(array(archive / "scan"), array(scan))
    assert len(find_studies(scan.parent / "plain" / "scan" / "IM0003.dcm")) == 1
    assert find_studies(archive / "scan" / "IM0003.dcm")[0].series[0].slices == 1
    for name in ("scam", "sca", "scan/IM0003.dcm/x"):
        with pytest.raises(UsageError, match="no such file"):
            find_studies(archive / name)


def test_an_archive_in_a_folder_and_one_without_folders(scan):
    zipped(scan / "scan", scan / "packed")
    shutil.rmtree(scan / "scan")
    (study,) = find_studies(scan)
    assert study.path == scan / "packed.zip"
    assert search(scan).counts.used == 24


def test_packed_with_gzip(scan):
    expected = array(scan)
    for index, file in enumerate(sorted((scan / "scan").iterdir())):
        name = f"{file.name}.gz" if index % 2 else f"{index}"
        (scan / "scan" / name).write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    np.testing.assert_array_equal(array(scan), expected)
    np.testing.assert_array_equal(array(zipped(scan)), expected)


def in_parts(content, ends):
    """Content packed with gzip in several parts, which unpack to one file."""
    return b"".join(gzip.compress(content[a:b]) for a, b in pairwise([0, *ends, len(content)]))


@pytest.mark.parametrize(
    "pack",
    [
        lambda content: in_parts(content, [1000]),
        lambda content: in_parts(content, [50, 100, 140]),
        lambda content: in_parts(content, [len(content)]),  # the last one is empty
        lambda content: gzip.compress(content) + bytes(512),  # padded to a block
    ],
)
def test_packed_with_gzip_in_several_parts(scan, pack):
    expected = array(scan)
    for file in sorted((scan / "scan").iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(pack(file.read_bytes()))
        file.unlink()
    np.testing.assert_array_equal(array(scan), expected)
    np.testing.assert_array_equal(array(zipped(scan)), expected)


def test_a_damaged_part_is_a_failure(scan):
    file = scan / "scan" / "IM0003.dcm"
    packed = in_parts(file.read_bytes(), [1000])
    file.with_name("IM0003.dcm.gz").write_bytes(packed[:-200] + packed[-100:])
    file.unlink()
    assert search(scan).counts.unread == 1


def test_an_archive_with_bytes_before_it(scan):
    expected = array(scan)
    archive = zipped(scan)
    archive.write_bytes(b"MZ" + bytes(500) + archive.read_bytes())
    np.testing.assert_array_equal(array(archive), expected)
    np.testing.assert_array_equal(array(archive / "scan"), expected)


@pytest.mark.parametrize("folder", ["", "disc/"])
def test_a_directory_named_in_an_archive_is_followed(tmp_path, folder):
    disc = tmp_path / "plain" / folder
    (disc / "IMAGES").mkdir(parents=True)
    write_directory(disc / "DICOMDIR", *(["IMAGES", f"IM{i:04}"] for i in range(24)))
    for index, file in enumerate(write_series(tmp_path / "series")):
        file.rename(disc / "IMAGES" / f"IM{index:04}")
    archive = zipped(tmp_path / "plain")
    np.testing.assert_array_equal(array(archive / folder / "DICOMDIR"), array(archive))


def test_pictures_and_volumes_in_an_archive(tmp_path):
    import nibabel

    write_pictures(tmp_path / "a" / "p" / "s", grey())
    affine = np.diag([-6.0, -6.0, 10.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(chest().T, affine), tmp_path / "a" / "v.nii.gz")
    archive = zipped(tmp_path / "a")
    plain, packed = find_studies(tmp_path / "a"), find_studies(archive)
    assert [s.path.relative_to(archive) for s in packed] == [
        s.path.relative_to(tmp_path / "a") for s in plain
    ]
    (pictures, volume), (packed_pictures, packed_volume) = plain, packed
    np.testing.assert_array_equal(
        load_study(volume, SPEC)[1].array, load_study(packed_volume, SPEC)[1].array
    )
    files = zip(pictures.series[0].files, packed_pictures.series[0].files, strict=True)
    for one, other in files:
        np.testing.assert_array_equal(decode_grey(one), decode_grey(other))


def test_hidden_and_ignored_members_are_counted(scan):
    (scan / "notes.txt").write_text("hello")
    (scan / "__MACOSX").mkdir()
    (scan / "__MACOSX" / "._IM0001.dcm").write_text("x")
    counts = search(zipped(scan)).counts
    assert (counts.used, counts.ignored) == (24, {"text": 1, "hidden": 1})


def test_an_archive_without_a_scan(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("hello")
    with pytest.raises(UnreadableScanError, match=r"no scan in this archive .*1 text") as caught:
        find_studies(zipped(tmp_path / "a"))
    assert caught.value.code == "no-scan"


def codes(path):
    """Return the code of each series that is not usable, by its path below the folder."""
    return {
        str(s.path.relative_to(path)): s.verdict.reason.code
        for s in series_of(path)
        if not s.verdict.readable
    }


def test_what_is_wrong_with_an_archive_is_its_own_failure(scan):
    with zipfile.ZipFile(scan / "outer.zip", "w") as outer:
        with outer.open("inner.zip", "w") as inner, zipfile.ZipFile(inner, "w") as nested:
            nested.writestr("1.dcm", b"x")
        outer.writestr("lost.dcm", b"hello")
        outer.writestr("packed.nii", bytes(100), zipfile.ZIP_BZIP2)
    whole = zipped(scan / "scan", scan / "whole").read_bytes()
    (scan / "whole.zip").unlink()
    (scan / "cut.zip").write_bytes(whole[:-3000])
    at = whole.rindex(b"PK\x01\x02")
    (scan / "locked.zip").write_bytes(whole[: at + 8] + b"\1" + whole[at + 9 :])
    assert codes(scan) == {
        "outer.zip/inner.zip": "archive-nested",
        "outer.zip/lost.dcm": "not-dicom",
        "outer.zip/packed.nii": "archive-method",
        "cut.zip": "archive-broken",
        "locked.zip": "archive-encrypted",
    }


def test_paths_into_archives_are_distinct(scan):
    archive = zipped(scan)
    inside = [archive / "scan", archive / "scan" / "IM0001.dcm"]
    assert distinct_paths([*inside, archive]) == [archive]
    assert distinct_paths([archive.parent, *inside, archive]) == [archive.parent]
    assert distinct_paths(inside) == [inside[0]]
    seen: set[str] = set()
    assert len(unseen(find_studies(archive), seen)) == 1
    assert unseen(find_studies(archive / "scan"), seen) == []


SEARCH = """
import json, sys
from darnet_trt.errors import ScanError
from darnet_trt.scan import find_studies
from tests.machine.peak import peak_bytes
try:
    found = [s.verdict.reason.code for study in find_studies(sys.argv[1]) for s in study.series]
except ScanError as error:
    found = [error.code]
print(json.dumps([found, peak_bytes()]))
"""


def deep(path):
    """Write archives of archives of zeros, as 42.zip is."""
    ratio(path)
    for level in range(3):
        content = path.read_bytes()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for index in range(16):
                archive.writestr(f"{level}-{index}.zip", content)


def many(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(6):
            archive.writestr(f"{index}.dcm", bytes(1 << 25))


def packed_dicom(path):
    content = bytes(128) + b"DICM" + bytes(1 << 20)
    with gzip.open(path, "wb") as file:
        file.write(content)
        for _ in range(60):
            file.write(bytes(1 << 20))


def dicom_in_parts(path):
    """Every part is small; together they are too large."""
    start, zeros = gzip.compress(bytes(128) + b"DICM"), gzip.compress(bytes(1 << 24))
    path.write_bytes(start + 40 * zeros)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (dicom_in_parts, "archive-limit"),
        (lambda path: overlapping(path, 60_000), "archive-limit"),
        (lambda path: listing(path, 600_000), "archive-limit"),
        (lambda path: listing(path, 1_000_000), "archive-limit"),
        (ratio, "archive-limit"),
        (many, "archive-limit"),
        (deep, "archive-nested"),
        (packed_dicom, "archive-limit"),
    ],
)
def test_a_bomb_fails_in_little_memory(tmp_path, make, code):
    make(tmp_path / "bomb.zip")
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, tmp_path / "bomb.zip"], capture_output=True, check=True
    )
    found, peak = json.loads(done.stdout)
    assert set(found) == {code}
    assert peak < 500 << 20
