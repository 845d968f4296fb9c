"""One input ends only itself: whatever lies beside good scans, they are found as before."""

import gzip
import os
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from darnet_trt.scan import find_studies
from darnet_trt.scan.discovery import found as looking
from darnet_trt.scan.discovery import search
from darnet_trt.scan.discovery import studies as grouping
from tests.permissions import obeyed
from tests.scan.series_factory import chest, write_series


def good(folder: Path) -> None:
    """Write a DICOM series, a NIfTI file and a folder of pictures."""
    write_series(folder / "dicom")
    (folder / "volume").mkdir()
    image = sitk.GetImageFromArray(chest())
    image.SetSpacing((6, 6, 10))
    sitk.WriteImage(image, folder / "volume" / "a.nii")
    (folder / "p" / "scan").mkdir(parents=True)
    for index, plane in enumerate(chest()[::-1]):
        grey = ((plane.clip(-1000, 500) + 1000) / 1500 * 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "p" / "scan" / f"{index:04}.png")


def written(name, content):
    def poison(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    poison.__name__ = name if name.isascii() else "name"
    return poison


def digits_of_another_script(folder):
    write_series(folder / "①", StudyInstanceUID="1.1")
    write_series(folder / "scan²", StudyInstanceUID="1.2")
    write_series(folder / "٣", StudyInstanceUID="1.3")


def a_number_of_250_digits(folder):
    written("9" * 250, b"x")(folder)
    written(f"{'9' * 246}.dcm", b"x")(folder)


def a_name_that_is_not_utf8(folder):
    written(os.fsdecode(b"\xff\xfe.dcm"), b"x")(folder)
    (folder / os.fsdecode(b"\x80\x81")).mkdir()


def not_to_be_opened(folder):
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.dcm")
    os.mkfifo(folder / "pipe.nii.gz")
    place = Path.cwd()
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
    finally:
        os.chdir(place)
    (folder / "zero.dcm").symlink_to("/dev/zero")


def links_in_circles(folder):
    (folder / "here").symlink_to(".")
    (folder / "above").symlink_to("..")
    (folder / "itself").symlink_to("itself")
    (folder / "itself.dcm").symlink_to("itself.dcm")
    (folder / "nowhere.nii").symlink_to("nowhere")


def a_folder_that_may_not_be_entered(folder):
    written("listed/1.dcm", b"x")(folder)
    written("closed/1.dcm", b"x")(folder)
    written("blind/1.dcm", b"x")(folder)
    (folder / "listed").chmod(0o400)
    (folder / "closed").chmod(0)
    (folder / "blind").chmod(0o100)
    (folder / "mine.dcm").write_bytes(b"x")
    (folder / "mine.dcm").chmod(0)


def a_path_longer_than_any_system_call_takes(folder):
    place = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=place)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=place)
        os.close(os.open("1.dcm", os.O_WRONLY | os.O_CREAT, dir_fd=below))
        os.close(place)
        place = below
    os.close(place)


def a_deep_tree(folder):
    written("/".join("d" * 900) + "/1.dcm", b"x")(folder)


def an_impossible_metaimage(folder):
    text = f"ObjectType = Image\nNDims = 3\nDimSize = {'9' * 400} 4 4\nElementType = MET_SHORT\n"
    written("a.mha", f"{text}ElementDataFile = LOCAL\n".encode())(folder)
    written("b.mhd", f"{text}ElementDataFile = /dev/zero\n".encode())(folder)


def archives_of_all_kinds(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../../up.dcm", b"x")
        archive.writestr(f"{'long' * 1000}.dcm", b"x")
        archive.writestr("①/²/1.dcm", b"x")
        archive.writestr(f"{'9' * 5000}/1.dcm", b"x")
        archive.writestr("/", b"")
        archive.writestr("a.dcm/b.dcm", b"x")
        archive.writestr("a.dcm", b"x")
    written("cut.zip", (folder / "a.zip").read_bytes()[:-30])(folder)
    written("cut.dcm.gz", gzip.compress(bytes(128) + b"DICM" + os.urandom(9000))[:-2000])(folder)
    written("none.dcm.gz", b"\x1f\x8b")(folder)
    written("none.nii.gz", b"\x1f\x8b\x08")(folder)


POISONS = [
    digits_of_another_script, a_number_of_250_digits, a_name_that_is_not_utf8, not_to_be_opened,
    links_in_circles, a_folder_that_may_not_be_entered, a_path_longer_than_any_system_call_takes,
    a_deep_tree, an_impossible_metaimage, archives_of_all_kinds,
    *(
        written(f"{kind}/file{suffix}", content)
        for suffix in (".dcm", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img",
                       ".png", ".jpg", ".tif", ".zip", ".gz", ".raw", "", ".7", ".txt")
        for kind, content in {
            "empty": b"", "text": b"hello", "bytes": bytes(range(256)) * 20, "zeros": bytes(9000),
            "dicom": bytes(128) + b"DICM" + bytes(range(256)), "zip": b"PK\3\4" + bytes(90),
            "gzip": b"\x1f\x8b\x08" + bytes(90), "png": b"\x89PNG\r\n\x1a\n" + bytes(90),
            "jpeg": b"\xff\xd8\xff" + bytes(90), "tiff": b"II*\0" + bytes(90), "mha": b"NDims = 3",
            "nrrd": b"NRRD0004\n", "nifti": b"\x5c\1\0\0" + bytes(340) + b"n+1\0" + bytes(20),
        }.items()
    ),
]  # fmt: skip


def checked(folder, where):
    """Search good scans beside a poison: each is found as it is without, and nothing raises."""
    before = {study.path: study for study in find_studies(folder)}
    where(folder / "beside")
    try:
        found = search(folder)
    finally:
        for place in (folder / "beside").iterdir():
            if place.is_dir() and not place.is_symlink():
                place.chmod(0o700)
    after = {study.path: study for study in found.studies}
    assert before.items() <= after.items()
    poisoned = [s for path, study in after.items() if path not in before for s in study.series]
    assert all(series.verdict.reason for series in poisoned)
    internal = [s for s in poisoned if getattr(s.verdict.reason, "code", "") == "internal-error"]
    assert not internal
    lost = sum(not series.verdict.readable for series in poisoned)
    assert lost or found.counts.ignored or len(after) > len(before)
    return found


@pytest.mark.parametrize("poison", POISONS[:10], ids=lambda poison: poison.__name__)
def test_the_rest_is_found(tmp_path, poison):
    (tmp_path / "beside").mkdir()
    good(tmp_path)
    with obeyed():
        checked(tmp_path, poison)


def test_the_rest_is_found_beside_files_of_every_content_under_every_name(tmp_path):
    (tmp_path / "beside").mkdir()
    good(tmp_path)

    def all_of_them(folder):
        for poison in POISONS[10:]:
            poison(folder)

    found = checked(tmp_path, all_of_them)
    promised = (".dcm", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
    named = {s.path for study in found.studies for s in study.series if not s.verdict.readable}
    lost = [p for p in (tmp_path / "beside").rglob("*") if p.name.endswith(promised)]
    assert sum(path in named for path in lost) > 90
    assert {path for path in lost if path not in named} <= {
        # what its content says, whatever its name
        file
        for study in found.studies
        for series in study.series
        for file in series.files
    }


def test_poison_in_the_folder_of_the_scan(tmp_path):
    write_series(tmp_path)
    (before,) = find_studies(tmp_path)
    for suffix in (".nii", ".nrrd", ".mha", ".dcm", ""):
        (tmp_path / f"1{suffix}").write_bytes(b"\0\1")
    *poisoned, after = sorted(find_studies(tmp_path), key=lambda study: len(study.series[0].files))
    assert len(poisoned) == 5
    assert after.series[0].files == before.series[0].files
    assert after.series[0].verdict.usable


def test_a_file_that_vanishes_between_two_looks(tmp_path, monkeypatch):
    good(tmp_path)
    count = len(find_studies(tmp_path))
    (tmp_path / "gone.dcm").write_bytes(b"x")
    listed = os.scandir

    def then_remove(folder):
        entries = list(listed(folder))
        (tmp_path / "gone.dcm").unlink(missing_ok=True)

        class Listing(list):
            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

        return Listing(entries)

    monkeypatch.setattr(os, "scandir", then_remove)
    found = find_studies(tmp_path)
    assert len(found) == count + 1
    (gone,) = (study for study in found if study.path.name == "gone.dcm")
    assert gone.series[0].verdict.reason.code == "cannot-open"


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), RecursionError("x"), MemoryError()])
@pytest.mark.parametrize("name", ["dicom_series", "slice_series"])
def test_an_unexpected_exception_in_one_study(tmp_path, monkeypatch, error, name):
    good(tmp_path)
    whole = getattr(grouping, name)

    def broken(what, *more):
        if "bad" in str(what):
            raise error
        return whole(what, *more)

    if name == "dicom_series":
        write_series(tmp_path / "bad", StudyInstanceUID="1.9")
    else:
        (tmp_path / "bad").mkdir()
        for index in range(3):
            Image.new("L", (64, 64)).save(tmp_path / "bad" / f"{index}.png")
    monkeypatch.setattr(grouping, name, broken)
    (failed,) = (study for study in find_studies(tmp_path) if "bad" in str(study.path))
    reason = failed.series[0].verdict.reason
    assert reason.code == ("out-of-memory" if isinstance(error, MemoryError) else "internal-error")
    assert type(error).__name__ in reason or isinstance(error, MemoryError)
    assert len(find_studies(tmp_path)) == 4


def test_an_unexpected_exception_in_one_file(tmp_path, monkeypatch):
    good(tmp_path)
    (tmp_path / "bad.dcm").write_bytes(b"x")
    read = looking.read_headers

    def broken(path):
        if path.name == "bad.dcm":
            raise KeyError("Rows")
        return read(path)

    monkeypatch.setattr(looking, "read_headers", broken)
    found = find_studies(tmp_path)
    (failed,) = (study for study in found if study.path.name == "bad.dcm")
    assert len(found) == 4
    assert failed.series[0].verdict.reason.code == "internal-error"
    assert "KeyError" in failed.series[0].verdict.reason
