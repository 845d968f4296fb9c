"""Studies are found under a path, and what cannot be read is named."""

import os
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from darnet_trt.errors import UnreadableScanError, UsageError
from darnet_trt.scan import find_studies
from darnet_trt.scan.discovery import find_study, search
from tests.scan.series_factory import chest, only, save, series_of, slice_dataset, write_series

NAMES = (".raw", ".bin", ".gz", ".zip", ".txt", ".png", ".nii", "", ".tmp", ".7")


def failures(path: Path) -> dict[str, str]:
    """Return the code of each file that failed, by its name."""
    return {
        s.path.name: getattr(s.verdict.reason, "code", "")
        for s in series_of(path)
        if not s.verdict.readable
    }


def test_no_such_path(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder") as caught:
        find_studies(tmp_path / "nothing")
    assert caught.value.code == "no-such-path"


def test_an_empty_folder(tmp_path):
    with pytest.raises(UnreadableScanError, match="no scan in this folder"):
        find_studies(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 200)
    with pytest.raises(UnreadableScanError, match="no scan in this folder"):
        find_studies(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, bytes(range(256)) * 4])
@pytest.mark.parametrize(
    ("name", "code"), [("a.txt", "unknown-format"), ("a.dcm", "not-dicom"), ("1.2.3", "not-dicom")]
)
def test_a_file_that_is_not_a_scan(tmp_path, name, code, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)


def test_what_is_neither_a_file_nor_a_folder_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableScanError, match="neither a file nor a folder"):
        find_studies(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UnreadableScanError, match="cannot be opened"):
        find_studies(tmp_path / "loop")
    with pytest.raises(UsageError, match="no such file or folder"):
        find_studies(tmp_path / "pipe" / "a")


def test_an_unreadable_slice_fails_and_is_named_beside_the_gap_it_leaves(tmp_path):
    files = write_series(tmp_path)
    files[7].write_bytes(files[7].read_bytes()[:200])
    series, lost = series_of(tmp_path)
    assert "1 slice is missing" in series.verdict.reason
    assert "; IM0007.dcm is a broken DICOM file" in series.verdict.reason
    assert lost.path == files[7]
    assert not series.verdict.readable
    assert not lost.verdict.readable


def test_a_folder_of_nothing_readable(tmp_path):
    for name in ("1.dcm", "2.dcm"):
        (tmp_path / name).write_text("text")
    assert failures(tmp_path) == {"1.dcm": "not-dicom", "2.dcm": "not-dicom"}


def test_a_truncated_dicom_file_alone(tmp_path):
    path = save(slice_dataset(chest(1)[0], (0, 0, 0)), tmp_path / "a.dcm")
    whole = path.read_bytes()
    path.write_bytes(whole[:400])
    series = only(path)
    assert not series.verdict.usable
    assert not series.verdict.readable
    path.write_bytes(whole[:150])
    with pytest.raises(UnreadableScanError, match=r"a\.dcm: is a broken DICOM file"):
        find_studies(path)
    path.write_bytes(whole[:-100])
    series = only(path)
    assert "truncated: 8092 of 8192 bytes of pixels" in series.verdict.reason
    assert not series.verdict.readable


def test_mixed_formats_each_a_study(tmp_path):
    write_series(tmp_path / "dicom")
    sitk.WriteImage(sitk.GetImageFromArray(chest()), tmp_path / "volume.nii.gz")
    (tmp_path / "p" / "scan").mkdir(parents=True)
    for index in range(12):
        Image.new("L", (32, 32), index).save(tmp_path / "p" / "scan" / f"{index}.png")
    (tmp_path / "README").write_text("about")
    (tmp_path / "cohort.csv").write_text("scan,patient,label")
    studies = find_studies(tmp_path)
    assert [(s.path.name, s.series[0].format) for s in studies] == [
        ("dicom", "dicom"), ("scan", "slices"), ("volume.nii.gz", "nifti"),
    ]  # fmt: skip


def test_each_broken_file_is_a_failed_study(tmp_path):
    write_series(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.dcm").write_text("text")
    (tmp_path / "bad" / "y.nii.gz").write_text("text")
    *bad, good = series_of(tmp_path)
    assert good.verdict.usable
    assert good.verdict.warnings == ()
    assert [series.path.name for series in bad] == ["x.dcm", "y.nii.gz"]
    assert not any(series.verdict.readable for series in bad)


def test_pictures_beside_dicom_are_not_scans(tmp_path):
    write_series(tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "preview.png")
    (study,) = find_studies(tmp_path)
    assert study.series[0].verdict.usable
    assert [w.code for w in study.series[0].verdict.warnings] == ["pictures-ignored"]
    assert search(tmp_path).counts.ignored == {"picture beside DICOM": 1}


def test_names_without_suffix_and_deep_folders(tmp_path):
    for index, file in enumerate(write_series(tmp_path / "flat")):
        target = tmp_path / "deep" / str(index % 3) / f"1.2.3.{index}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, target)
    (study,) = find_studies(tmp_path / "deep")
    assert study.series[0].slices == 24
    assert study.path == tmp_path / "deep"


def test_links_are_followed_and_circles_are_not(tmp_path):
    write_series(tmp_path / "real")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "top" / "circle").symlink_to(tmp_path / "top")
    (study,) = find_studies(tmp_path / "top")
    assert study.series[0].verdict.reason == "24 axial slices, 240 mm"


def test_order_is_fixed(tmp_path):
    for name in ("10", "9", "a"):
        write_series(
            tmp_path / name, StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid()
        )
    assert [study.path.name for study in find_studies(tmp_path)] == ["9", "10", "a"]


def test_a_volume_file_that_is_lost_is_a_result_of_its_own(tmp_path):
    image = sitk.GetImageFromArray(chest())
    image.SetSpacing((6, 6, 10))
    sitk.WriteImage(image, tmp_path / "good.nii")
    whole = (tmp_path / "good.nii").read_bytes()
    for name, content in {
        "empty.nii.gz": b"",
        "cut.nii": whole[:200],
        "wrong-name.nrrd": b"PK\3\4" + bytes(200),
        "text.mha": b"hello",
        "lost.dcm": b"hello",
        "IM0001": b"<html>not found</html>",
        "1.2.840.10008.7": b"",
        "scan": bytes(range(256)),
        "broken.zip": b"PK\3\4" + bytes(200),
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "moved.nii.gz").symlink_to("annex/lost.nii.gz")
    os.mkfifo(tmp_path / "pipe.dcm")
    found = search(tmp_path)
    (good,) = (s for study in found.studies for s in study.series if s.verdict.usable)
    assert good.path.name == "good.nii"
    assert (found.counts.scans, found.counts.used, found.counts.unread) == (1, 1, 11)
    assert len(found.studies) == 12
    assert not found.counts.ignored


def test_dicom_under_any_name_is_read(tmp_path):
    for index, file in enumerate(write_series(tmp_path / "scan")):
        suffix = (".raw", ".bin", ".gz", ".zip", ".txt", ".png", ".nii", "", ".tmp", ".7")[
            index % 10
        ]
        file.rename(file.with_name(f"{index}{suffix}"))
    assert only(tmp_path).slices == 24


def test_what_is_no_scan_is_counted_by_kind(tmp_path):
    write_series(tmp_path)
    (tmp_path / "a.mhd").write_text("")
    contents = {
        "notes.txt": b"hello",
        "README": b"hello",
        "dataset_description.json": b"{}",
        "report.pdf": b"%PDF-1.7",
        "logo.gif": b"GIF89a",
        "photo.psd": b"8BPS",
        "a.zraw": b"\0\1\2",
        "study.7z": b"7z\xbc\xaf\x27\x1c",
        "study.tar": bytes(257) + b"ustar",
        "thing.foo": b"\0\1\2",
        "1.overlay.png": b"",
        ".hidden.dcm": b"",
        "preview.png": b"\x89PNG\r\n\x1a\n",
        "gif.png": b"GIF89a",
        "DICOMDIR": b"\0\1\2",
        "table.xlsx": b"PK\3\4",
        "empty.txt": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "1.dcm").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    counts = search(tmp_path).counts
    assert counts.ignored == {
        "text": 3, "PDF": 1, "GIF": 2, "PSD": 1, "raw voxels": 1, "7z (unpack it)": 1,
        "tar (unpack it)": 1, "unknown": 1, "result picture": 1, "hidden": 2, "DICOMDIR": 1,
        "picture beside DICOM": 1, "Office": 1, "empty": 1, "broken link": 1,
        "pipe or device": 1,
    }  # fmt: skip
    assert (counts.used, counts.scans, counts.unread) == (24, 1, 1)
    assert str(counts).startswith(
        "found 45 files: 24 in 1 scan, 1 cannot be read, 20 ignored (3 text"
    )


def test_a_media_directory_under_any_name_is_ignored(tmp_path):
    write_series(tmp_path)
    directory = Dataset()
    directory.FileSetID, directory.DirectoryRecordSequence = "DISC", []
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    save(directory, tmp_path / "DIRFILE")
    found = search(tmp_path)
    assert len(found.studies) == 1
    assert found.counts.ignored == {"DICOMDIR": 1}


def test_a_picture_is_what_its_content_says(tmp_path):
    for index in range(12):
        Image.new("L", (32, 32), index).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").rename(tmp_path / "3.dat")
    (tmp_path / "12.png").write_bytes(b"GIF89a")
    assert failures(tmp_path) == {"12.png": "not-a-picture"}
    (series,) = (s for s in series_of(tmp_path) if s.format == "slices")
    assert series.slices == 12
    (tmp_path / "12.png").unlink()
    (tmp_path / "5.png").write_bytes(b"")
    (series,) = (s for s in series_of(tmp_path) if s.format == "slices")
    assert "1 slice is missing" in series.verdict.reason
    assert "5.png" in series.verdict.reason


def test_a_folder_of_pictures_that_are_all_lost_fails(tmp_path):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"")
    assert failures(tmp_path) == dict.fromkeys(("0.png", "1.png", "2.png"), "not-a-picture")
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"GIF89a")
    with pytest.raises(UnreadableScanError, match=r"no scan in this folder .*3 GIF"):
        find_studies(tmp_path)


def test_the_only_study_of_a_cohorts_scan(tmp_path):
    write_series(tmp_path / "a", StudyInstanceUID="1.1")
    (tmp_path / "a" / "lost.dcm").write_bytes(b"")
    assert find_study(tmp_path).uid == "1.1"
    write_series(tmp_path / "b", StudyInstanceUID="1.2")
    with pytest.raises(UnreadableScanError) as caught:
        find_study(tmp_path)
    assert caught.value.code == "several-studies"
    with pytest.raises(UnreadableScanError):
        find_study(tmp_path / "a" / "lost.dcm")


def test_voxels_beside_their_header_are_used_and_others_are_not(tmp_path):
    image = sitk.GetImageFromArray(chest())
    image.SetSpacing((6, 6, 10))
    for name in ("pair.hdr", "meta.mhd", "nrrd.nhdr"):
        sitk.WriteImage(image, tmp_path / name)
    (tmp_path / "other.raw").write_bytes(b"\0\1\2")
    (tmp_path / "alone.img").write_bytes(b"\0\1\2")
    counts = search(tmp_path).counts
    assert (counts.scans, counts.used, counts.ignored) == (3, 6, {"raw voxels": 1})
    assert failures(tmp_path) == {"alone.img": "no-header-file"}
    assert find_study(tmp_path / "pair.img") == find_study(tmp_path / "pair.hdr")


def test_a_volume_file_under_another_name_is_what_its_content_says(tmp_path):
    image = sitk.GetImageFromArray(chest())
    image.SetSpacing((6, 6, 10))
    for index, (name, other) in enumerate(
        [("a.nii", "1.dat"), ("a.nii.gz", "2.gz"), ("a.mha", "3.nrrd"), ("a.nrrd", "4.mha")]
    ):
        sitk.WriteImage(image, tmp_path / name)
        (tmp_path / name).rename(tmp_path / other)
        assert len(find_studies(tmp_path)) == index + 1
    assert [s.format for s in series_of(tmp_path)] == ["nifti", "nifti", "mha", "nrrd"]
    assert all(s.verdict.usable for s in series_of(tmp_path))
