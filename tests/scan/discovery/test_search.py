"""Studies are found under a path, and what cannot be read is named."""

import os
import shutil
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from pydicom.uid import generate_uid

from darnet_trt.errors import UnreadableScanError, UsageError
from darnet_trt.scan import find_studies
from darnet_trt.scan.discovery import distinct_paths, unseen
from tests.scan.series_factory import chest, only, save, slice_dataset, write_series


def test_no_such_path(tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        find_studies(tmp_path / "nothing")


def test_an_empty_folder(tmp_path):
    with pytest.raises(UnreadableScanError, match="no scan in this folder"):
        find_studies(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 200)
    with pytest.raises(UnreadableScanError, match="no scan in this folder"):
        find_studies(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, bytes(range(256)) * 4])
def test_a_file_that_is_not_a_scan(tmp_path, content):
    for name in ("a.txt", "a.dcm", "a"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableScanError, match="in no known format") as caught:
            find_studies(path)
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


def test_an_unreadable_slice_is_named_beside_the_gap_it_leaves(tmp_path):
    files = write_series(tmp_path)
    files[7].write_bytes(files[7].read_bytes()[:200])
    series = only(tmp_path)
    assert "1 slice is missing" in series.verdict.reason
    assert "; IM0007.dcm is a broken DICOM file" in series.verdict.reason
    assert not series.verdict.readable


def test_a_folder_of_nothing_readable(tmp_path):
    for name in ("1.dcm", "2.dcm"):
        (tmp_path / name).write_text("text")
    with pytest.raises(UnreadableScanError, match=r"2 files .*: 1\.dcm is not a DICOM file"):
        find_studies(tmp_path)


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


def test_broken_files_elsewhere_are_a_failed_series(tmp_path):
    write_series(tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.dcm").write_text("text")
    (tmp_path / "bad" / "y.nii.gz").write_text("text")
    bad, good = find_studies(tmp_path)
    assert good.series[0].verdict.usable
    assert good.series[0].verdict.warnings == ()
    assert not bad.series[0].verdict.usable
    assert "2 files can be read, the first: x.dcm" in bad.series[0].verdict.reason


def test_pictures_beside_dicom_are_not_scans(tmp_path):
    write_series(tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "preview.png")
    (study,) = find_studies(tmp_path)
    assert study.series[0].verdict.usable
    assert "1 PNG or JPEG image was ignored" in study.series[0].verdict.warnings[0]


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
