"""A slice that is stored twice counts once, in whatever encoding its copy is."""

import subprocess
import sys

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from darnet_trt.scan import read_volume
from tests.scan.series_factory import chest, only, save, series_of, slice_dataset, write_series

NATIVE = [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
COMPRESSED = [RLELossless, JPEG2000Lossless, JPEGLSLossless]
SYNTAXES = [*NATIVE, *COMPRESSED]
ENCODERS = {
    JPEG2000Lossless: lambda a: imagecodecs.jpeg2k_encode(
        a, level=0, reversible=True, codecformat="j2k"
    ),
    JPEGLSLossless: imagecodecs.jpegls_encode,
}


def write_copies(folder, syntax, **change):
    """Write the same slices in another transfer syntax; `change` sets attributes."""
    for index, file in enumerate(sorted(folder.glob("IM*"))):
        ds = pydicom.dcmread(file)
        if syntax in ENCODERS:
            pixels = ENCODERS[syntax](ds.pixel_array.astype(np.uint16))
            ds.PixelData = encapsulate([pixels])
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
            ds.file_meta.TransferSyntaxUID = syntax
        elif syntax == RLELossless:
            ds.compress(RLELossless, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            ds.PixelData = ds.pixel_array.astype(">u2").tobytes()
            ds = big_endian(ds)
        else:
            ds.file_meta.TransferSyntaxUID = syntax
        for keyword, of in change.items():
            setattr(ds, keyword, of())
        path = folder / f"copy{index:02}.dcm"
        if syntax == ExplicitVRBigEndian:
            ds.save_as(path, implicit_vr=False, little_endian=False)
        else:
            save(ds, path)


def big_endian(ds):
    """Return the same data set, not yet bound to an encoding."""
    new = pydicom.Dataset()
    new.update({element.tag: element for element in ds})
    new.file_meta = ds.file_meta
    new.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    return new


@pytest.mark.parametrize(
    ("syntax", "change"),
    [*((syntax, {}) for syntax in (*SYNTAXES, ExplicitVRBigEndian)),
     *((syntax, {"SOPInstanceUID": generate_uid}) for syntax in NATIVE)],
)  # fmt: skip
def test_a_copy_in_another_transfer_syntax(tmp_path, syntax, change):
    hu = (chest() + 2000).astype(np.uint16)
    write_series(tmp_path, hu, RescaleIntercept="-2000")
    write_copies(tmp_path, syntax, **change)
    series = only(tmp_path)
    assert series.verdict.usable
    assert series.slices == 24
    (note,) = series.verdict.warnings
    assert note.code == "duplicate-files"
    assert "24 duplicate files" in note
    assert {h.transfer_syntax for h in series.headers} <= {
        ExplicitVRLittleEndian, ImplicitVRLittleEndian,
    }  # fmt: skip
    np.testing.assert_array_equal(read_volume(series).hu, chest())


@pytest.mark.parametrize("syntax", COMPRESSED)
def test_a_compressed_copy_with_uids_of_its_own_is_not_decoded(tmp_path, syntax):
    """A codec can crash; it runs only where that ends one scan alone."""
    hu = (chest() + 2000).astype(np.uint16)
    write_series(tmp_path, hu, RescaleIntercept="-2000")
    write_copies(tmp_path, syntax, SOPInstanceUID=generate_uid)
    code = (
        "import sys; from tests.scan.series_factory import series_of; "
        f"print([s.slices for s in series_of({str(tmp_path)!r})], 'imagecodecs' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["[24,", "24]", "False"]
    for series in series_of(tmp_path):
        assert [w.code for w in series.verdict.warnings] == ["shared-series-uid"]
        np.testing.assert_array_equal(read_volume(series).hu, chest())


@pytest.mark.parametrize("lossy_first", [False, True])
def test_of_a_lossy_copy_with_the_same_uid_the_original_is_kept(tmp_path, lossy_first):
    hu = (chest() + 2000).astype(np.uint16)
    files = write_series(tmp_path, hu, RescaleIntercept="-2000")
    for file in files:
        ds = pydicom.dcmread(file)
        ds.PixelData = (ds.pixel_array ^ 3).astype("<u2").tobytes()
        ds.LossyImageCompression = "01"
        ds.compress(RLELossless, generate_instance_uid=False)
        save(ds, file.with_name(("A" if lossy_first else "Z") + file.name))
    series = only(tmp_path)
    assert [w.code for w in series.verdict.warnings] == ["duplicate-files"]
    np.testing.assert_array_equal(read_volume(series).hu, chest())


def test_a_lossy_copy_with_uids_of_its_own_is_a_series_of_its_own(tmp_path):
    files = write_series(tmp_path)
    for file in files:
        ds = pydicom.dcmread(file)
        ds.PixelData = (ds.pixel_array ^ 3).astype("<i2").tobytes()
        ds.LossyImageCompression, ds.SOPInstanceUID = "01", generate_uid()
        save(ds, file.with_name(f"Z{file.name}"))
    series = series_of(tmp_path)
    assert [s.slices for s in series] == [24, 24]
    assert all("lossy compression" in s.verdict.warnings[0] for s in series)


def test_places_that_differ_in_the_plane_by_rounding(tmp_path):
    write_series(tmp_path)
    for index, stored in enumerate(chest()):
        ds = slice_dataset(stored, (-190.0003, -189.9996, 10 * index + 1e-4), InstanceNumber=9)
        save(ds, tmp_path / f"copy{index}.dcm")
    assert [w.code for w in only(tmp_path).verdict.warnings] == ["duplicate-files"]


def test_equal_empty_slices_of_two_acquisitions_are_no_copies(tmp_path):
    for number in (1, 2):
        hu = chest(seed=number)
        hu[-1] = -1024
        write_series(tmp_path / str(number), hu, AcquisitionNumber=number)
    assert [s.slices for s in series_of(tmp_path)] == [24, 24]


def test_a_damaged_copy_does_no_harm(tmp_path):
    files = write_series(tmp_path)
    (tmp_path / "copy.dcm").write_bytes(files[5].read_bytes()[:-100])
    series, lost = series_of(tmp_path)
    assert (lost.path.name, lost.verdict.reason.code) == ("copy.dcm", "truncated")
    assert series.verdict.usable
    assert series.slices == 24
    assert [w.code for w in series.verdict.warnings] == ["damaged-files"]


def test_one_uid_for_all_files_makes_no_copies(tmp_path):
    write_series(tmp_path, SOPInstanceUID="1.2.3")
    series = only(tmp_path)
    assert series.slices == 24
    assert series.verdict.warnings == ()
