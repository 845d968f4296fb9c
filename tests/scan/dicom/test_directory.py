"""Media directories are ignored under any name, and followed where one is named."""

import os
import struct

import pydicom
import pytest
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import find_studies
from darnet_trt.scan.dicom.directory import is_directory, listed_files
from tests.scan.series_factory import chest, only, series_of, slice_dataset, write_series


@pytest.fixture
def disc(tmp_path):
    """Make a folder with a DICOMDIR and the 24 files that it lists."""
    files = FileSet()
    for index, stored in enumerate(chest()):
        dataset = slice_dataset(stored, (-190, -190, 10 * index), InstanceNumber=index + 1)
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200101", "120000", "1"
        files.add(dataset)
    files.write(tmp_path / "disc")
    files._stage["t"].cleanup()
    return tmp_path / "disc"


def write_directory(path, *file_ids, **change):
    """Write a DICOMDIR with one record for each file, its names as given."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.file_meta.TransferSyntaxUID = change.pop("syntax", ExplicitVRLittleEndian)
    directory.FileSetID = "DISC"
    directory.DirectoryRecordSequence = []
    for file_id in file_ids:
        record = Dataset()
        record.RecordInUseFlag = change.get("in_use", 0xFFFF)
        record.DirectoryRecordType = "IMAGE"
        record.add(DataElement("ReferencedFileID", "CS", file_id, validation_mode=IGNORE))
        directory.DirectoryRecordSequence.append(record)
    pydicom.dcmwrite(path, directory, enforce_file_format=True)
    return path


def without_meta_header(path, *, preamble=True):
    """Write a file again as old software does: without its meta header."""
    whole = path.read_bytes()
    length = struct.unpack_from("<I", whole, 140)[0]
    path.write_bytes((whole[:132] if preamble else b"") + whole[144 + length :])


@pytest.mark.parametrize("name", ["DICOMDIR", "DIRFILE", "index", "0001.dcm", "dicomdir.bak1"])
@pytest.mark.parametrize("meta", ["whole", "preamble", "nothing"])
def test_a_directory_is_passed_over_whatever_its_name(disc, name, meta):
    if meta != "whole":
        without_meta_header(disc / "DICOMDIR", preamble=meta == "preamble")
    (disc / "DICOMDIR").rename(disc / name)
    series = only(disc)
    assert series.verdict.usable
    assert series.slices == 24
    assert series.verdict.warnings == ()


def test_a_directory_in_every_folder_is_passed_over(disc):
    write_series(disc / "more", SeriesInstanceUID="1.2.3.9", StudyInstanceUID="1.2.4")
    content = (disc / "DICOMDIR").read_bytes()
    for folder in (disc, disc / "more", disc / "PT000000", disc / "PT000000" / "ST000000"):
        (folder / "DIRFILE").write_bytes(content)
    assert [s.slices for s in series_of(disc)] == [24, 24]


@pytest.mark.parametrize("name", ["DICOMDIR", "DIRFILE"])
@pytest.mark.parametrize("meta", ["whole", "preamble", "nothing"])
def test_a_named_directory_is_followed(disc, name, meta):
    if meta != "whole":
        without_meta_header(disc / "DICOMDIR", preamble=meta == "preamble")
    (disc / "DICOMDIR").rename(disc / name)
    write_series(disc / "not-listed", StudyInstanceUID="1.2.4")
    (study,) = find_studies(disc / name)
    (series,) = study.series
    assert series.verdict.usable
    assert series.slices == 24


def test_names_in_another_case_and_with_a_version(tmp_path):
    files = write_series(tmp_path / "images")
    names = [["IMAGES", f"IM{index:04d}"] for index in range(24)]
    for index, file in enumerate(files):
        file.rename(file.with_name(f"im{index:04d}" + (".;1" if index % 2 else "")))
    assert only(write_directory(tmp_path / "DICOMDIR", *names)).slices == 24


def test_the_exact_name_comes_before_one_in_another_case(tmp_path):
    for name in ("a", "A"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("a", "A"):
        assert listed_files(write_directory(tmp_path / "DICOMDIR", name)) == ([tmp_path / name], [])


def test_a_missing_file_is_named(disc):
    (lost, *_), _ = listed_files(disc / "DICOMDIR")
    lost.unlink()
    files, (error,) = listed_files(disc / "DICOMDIR")
    assert len(files) == 23
    assert error.code == "missing-from-disc"
    assert error.where == str(lost)
    assert any(lost.name in w for s in series_of(disc / "DICOMDIR") for w in s.verdict.warnings)


@pytest.mark.parametrize(
    "names", [["..", "secret"], ["a", "..", "..", "secret"], "/etc/passwd", ["", "secret"],
              ["a/../../secret"], ["link"], ["out", "secret"], ["..\0", "secret"]],
)  # fmt: skip
def test_what_lies_outside_the_folder_is_not_followed(tmp_path, names):
    (tmp_path / "secret").write_bytes(b"x")
    disc = tmp_path / "disc"
    (disc / "a").mkdir(parents=True)
    (disc / "link").symlink_to(tmp_path / "secret")
    (disc / "out").symlink_to(tmp_path)
    files, (error,) = listed_files(write_directory(disc / "DICOMDIR", names))
    assert files == []
    assert error.code == "outside-folder"


def test_a_long_name_and_a_folder_are_missing_files(tmp_path):
    (tmp_path / "folder").mkdir()
    directory = write_directory(tmp_path / "DICOMDIR", "X" * 300, "FOLDER", ["X" * 4000, "A"])
    files, errors = listed_files(directory)
    assert files == []
    assert {error.code for error in errors} == {"missing-from-disc"}


@pytest.mark.parametrize(
    "change", [{"in_use": 0}, {"syntax": DeflatedExplicitVRLittleEndian}]
)  # fmt: skip
def test_a_directory_that_lists_nothing_or_is_deflated(tmp_path, change):
    write_series(tmp_path)
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(write_directory(tmp_path / "DICOMDIR", "IM0000.DCM", **change))
    assert caught.value.code == "broken-directory"


@pytest.mark.parametrize("length", [400, 700, 2000])
def test_a_cut_directory_is_an_error(disc, length):
    path = disc / "DICOMDIR"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(path)
    assert caught.value.code == "broken-directory"
    assert only(disc).slices == 24


def test_a_directory_too_large_to_parse(tmp_path):
    path = write_directory(tmp_path / "DICOMDIR", "A")
    os.truncate(path, 1 << 30)
    with pytest.raises(UnreadableScanError, match="larger than 64 MB"):
        listed_files(path)


@pytest.mark.parametrize("start", [b"", b"\4", b"\4\0\0", b"\4\0\x99\x11" * 40, b"DICM" * 40])
def test_other_files_are_no_directories(start):
    assert not is_directory(start)


def test_a_slice_is_no_directory(tmp_path):
    for file in write_series(tmp_path, chest(1)):
        assert not is_directory(file.read_bytes())
