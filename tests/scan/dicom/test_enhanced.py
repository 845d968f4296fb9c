"""Frames of an enhanced CT are slices, each with its own place and values."""

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan import Preprocessing, load_input, read_volume
from darnet_trt.scan.dicom.header import read_headers
from darnet_trt.scan.dicom.pixels import decode_slice, decode_slices
from tests.scan.enhanced_factory import ENHANCED_CT, LEGACY_CT, enhanced_dataset, frame_groups
from tests.scan.series_factory import chest, only, save, series_of, slice_dataset

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


def rle(frame):
    ds = slice_dataset(frame, (0, 0, 0))
    ds.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    return next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))


ENCODERS = {
    "1.2.840.10008.1.2.4.90": lambda f: imagecodecs.jpeg2k_encode(f, level=0, codecformat="j2k"),
    "1.2.840.10008.1.2.4.201": lambda f: imagecodecs.htj2k_encode(f, reversible=True),
    "1.2.840.10008.1.2.4.80": lambda f: imagecodecs.jpegls_encode(f.view("u2")),
    "1.2.840.10008.1.2.4.70": lambda f: imagecodecs.ljpeg_encode(f.view("u2")),
    "1.2.840.10008.1.2.5": rle,
}


def pixels(headers):
    decoded = decode_slices(headers, range(len(headers)), decode_slice)
    return np.stack([stored for _, stored in decoded])


def agree(path):
    """Compare the headers with a plain reading of the functional groups."""
    ds, headers = pydicom.dcmread(path), read_headers(path)
    assert len(headers) == ds.NumberOfFrames
    (shared,) = ds.SharedFunctionalGroupsSequence
    places = {
        "ImagePositionPatient": "PlanePositionSequence",
        "ImageOrientationPatient": "PlaneOrientationSequence",
        "PixelSpacing": "PixelMeasuresSequence",
        "SliceThickness": "PixelMeasuresSequence",
        "RescaleSlope": "PixelValueTransformationSequence",
        "RescaleIntercept": "PixelValueTransformationSequence",
    }
    for number, (header, own) in enumerate(
        zip(headers, ds.PerFrameFunctionalGroupsSequence, strict=True), 1
    ):
        assert header.frame == number
        assert header.name == f"frame {number} of {path.name}"
        assert header.get("SOPInstanceUID") == ds.SOPInstanceUID
        for keyword, sequence in places.items():
            (group,) = own.get(sequence) or shared.get(sequence)
            np.testing.assert_array_equal(header.get(keyword), group[keyword].value)
    return headers


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN])
@pytest.mark.parametrize("dtype", ["i2", "u2", "i4"])
def test_native_frames(tmp_path, syntax, dtype):
    stored = (chest(12) + 1024).clip(0).astype(dtype)
    path = save(enhanced_dataset(stored, TransferSyntaxUID=syntax), tmp_path / "a.dcm")
    headers = agree(path)
    np.testing.assert_array_equal(pixels(headers), stored)
    np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array, stored)


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_compressed_frames(tmp_path, syntax, table):
    stored = chest(12)
    ds = enhanced_dataset(stored, encode=ENCODERS[syntax], table=table, TransferSyntaxUID=syntax)
    headers = agree(save(ds, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(pixels(headers), stored)


def test_frames_of_several_fragments(tmp_path):
    stored = chest(12)
    encode = ENCODERS["1.2.840.10008.1.2.4.90"]
    ds = enhanced_dataset(stored, TransferSyntaxUID="1.2.840.10008.1.2.4.90", encode=encode)
    codes = [encode(frame) for frame in stored]
    ds.PixelData = pydicom.encaps.encapsulate(codes, fragments_per_frame=3)
    np.testing.assert_array_equal(pixels(agree(save(ds, tmp_path / "a.dcm"))), stored)
    ds.PixelData = pydicom.encaps.encapsulate(codes, fragments_per_frame=3, has_bot=False)
    save(ds, tmp_path / "a.dcm")
    assert only(tmp_path).verdict.reason.code == "frames"


@pytest.mark.parametrize("sop", [ENHANCED_CT, LEGACY_CT])
def test_a_usable_series(tmp_path, sop):
    """Frames in any order, each with its own rescale, are one volume."""
    hu = chest()
    order = np.random.default_rng(1).permutation(24)
    frames = [
        frame_groups((-190, -190, 10 * int(i)), RescaleIntercept=str(-1000 - int(i))) for i in order
    ]
    stored = np.stack([hu[i].astype(int) + 1000 + i for i in order]).clip(0).astype(np.uint16)
    save(enhanced_dataset(stored, frames, SOPClassUID=sop), tmp_path / "a.dcm")
    series = only(tmp_path)
    assert series.verdict.usable
    assert series.slices == 24
    assert series.kernel == "B40f"
    assert series.path == tmp_path / "a.dcm"
    assert [header.frame - 1 for header in series.headers] == list(np.argsort(order))
    expected = np.stack([s.astype(int) - 1000 - i for s, i in zip(stored, order, strict=True)])
    np.testing.assert_array_equal(read_volume(series).hu, expected[np.argsort(order)])


def test_volumes_in_one_file_are_separated(tmp_path):
    hu = np.concatenate([chest(12), chest(12, seed=1)])
    for keyword in ("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"):
        values = ["1", "2"] if keyword == "StackID" else [1, 2]
        frames = [
            frame_groups((-190, -190, 10 * z), **{keyword: value})
            for value in values
            for z in range(12)
        ]
        save(enhanced_dataset(hu, frames), tmp_path / "a.dcm")
        series = series_of(tmp_path)
        assert [s.slices for s in series] == [12, 12], keyword
        assert all(s.verdict.usable for s in series)
        np.testing.assert_array_equal(read_volume(series[0]).hu, hu[:12])


def test_volumes_that_nothing_tells_apart_are_refused(tmp_path):
    frames = [frame_groups((-190, -190, 10 * z)) for _ in range(2) for z in range(12)]
    hu = np.concatenate([chest(12), chest(12, seed=1)])
    save(enhanced_dataset(hu, frames), tmp_path / "a.dcm")
    assert not only(tmp_path).verdict.usable


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"], "localizer"),
        (["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"], "derived"),
        (["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"], "derived"),
    ],
)
def test_frames_of_another_type_are_out(tmp_path, kind, code):
    original = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    frames = [
        frame_groups((-190, -190, 10 * z), FrameType=kind if z == 12 else original)
        for z in range(13)
    ]
    save(
        enhanced_dataset(chest(13), frames, ImageType=["MIXED", "PRIMARY", "VOLUME", "MIXED"]),
        tmp_path / "a.dcm",
    )
    series = series_of(tmp_path)
    assert sorted(s.slices for s in series) == [1, 12]
    for one in series:
        assert one.verdict.usable == (one.slices == 12)
        assert one.slices == 12 or one.verdict.reason.code == code


def test_a_frame_without_a_position_is_refused(tmp_path):
    ds = enhanced_dataset(chest(12))
    del ds.PerFrameFunctionalGroupsSequence[5].PlanePositionSequence
    save(ds, tmp_path / "a.dcm")
    codes = {s.verdict.reason.code for s in series_of(tmp_path)}
    assert "missing-attribute" in codes
    assert "usable" not in codes


def test_frames_without_functional_groups_are_refused(tmp_path):
    hu = chest(12)
    ds = slice_dataset(hu[0], (0, 0, 0), NumberOfFrames=12)
    ds.PixelData = hu.tobytes()
    save(ds, tmp_path / "a.dcm")
    assert only(tmp_path).verdict.reason.code == "frames"


def test_frames_and_groups_that_differ_in_number_are_refused(tmp_path):
    ds = enhanced_dataset(chest(12))
    ds.NumberOfFrames = 11
    save(ds, tmp_path / "a.dcm")
    assert only(tmp_path).verdict.reason.code == "frames"
    ds.NumberOfFrames, ds.PixelData = 12, ds.PixelData[:-1000]
    save(ds, tmp_path / "a.dcm")
    assert only(tmp_path).verdict.reason.code == "pixel-length"


def test_a_truncated_file_keeps_its_whole_frames(tmp_path):
    path = save(enhanced_dataset(chest(24)), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-10])
    lost, series = sorted(series_of(tmp_path), key=lambda s: s.verdict.usable)
    assert lost.verdict.reason.code == "truncated"
    assert series.slices == 23
    assert "frame 24 of a.dcm" in series.verdict.warnings[0]
    ds = enhanced_dataset(
        chest(12), encode=ENCODERS["1.2.840.10008.1.2.5"], TransferSyntaxUID="1.2.840.10008.1.2.5"
    )
    path = save(ds, path)
    path.write_bytes(path.read_bytes()[:-100])
    verdict = only(tmp_path).verdict
    assert not verdict.usable
    assert not verdict.readable


def test_a_damaged_frame_is_named(tmp_path):
    syntax = "1.2.840.10008.1.2.4.80"
    codes = [ENCODERS[syntax](frame) for frame in chest(12)]
    ds = enhanced_dataset(chest(12), TransferSyntaxUID=syntax, encode=ENCODERS[syntax])
    codes[3] = codes[3][: len(codes[3]) // 2]
    ds.PixelData = pydicom.encaps.encapsulate(codes)
    headers = read_headers(save(ds, tmp_path / "a.dcm"))
    with pytest.raises(UnreadableScanError, match="frame 4 is truncated"):
        decode_slice(headers[3])


def test_a_frame_without_a_body_is_named(tmp_path):
    hu = chest()
    hu[12] = 40
    save(enhanced_dataset(hu), tmp_path / "a.dcm")
    with pytest.raises(RefusedScanError, match=r"frame 13 of a\.dcm"):
        load_input(only(tmp_path), Preprocessing())


def test_files_of_one_series_are_one_volume(tmp_path):
    """A long scan is written in several files (concatenation)."""
    hu = chest(24)
    for part in range(2):
        frames = [frame_groups((-190, -190, 10 * (12 * part + z))) for z in range(12)]
        ds = enhanced_dataset(hu[12 * part : 12 * part + 12], frames, SOPInstanceUID=generate_uid())
        save(ds, tmp_path / f"{part}.dcm")
    series = only(tmp_path)
    assert series.path == tmp_path
    assert series.verdict.usable
    np.testing.assert_array_equal(read_volume(series).hu, hu)


def parts_of_files(hu, indices, shift_mm=0.0, **attributes):
    """An enhanced file of some slices of a volume."""
    frames = [frame_groups((-190, -190, 10 * z + shift_mm)) for z in indices]
    return enhanced_dataset(hu[indices], frames, SOPInstanceUID=generate_uid(), **attributes)


@pytest.mark.parametrize("uids", [False, True])
@pytest.mark.parametrize(("count", "step"), [(4, 1), (2, 2), (24, 1)])
def test_a_concatenation_is_one_image(tmp_path, uids, count, step):
    """Its files are parts of one image, side by side or interleaved."""
    hu = chest(24)
    for part in range(count):
        own = np.arange(24)[part::count] if step > 1 else np.array_split(np.arange(24), count)[part]
        more = {"SeriesInstanceUID": generate_uid()} if uids else {}
        ds = parts_of_files(
            hu, own, ConcatenationUID="1.2.7", InConcatenationNumber=part + 1, **more
        )
        save(ds, tmp_path / f"{part}.dcm")
    series = only(tmp_path)
    assert series.verdict.usable
    assert series.verdict.warnings == ()
    np.testing.assert_array_equal(read_volume(series).hu, hu)


@pytest.mark.parametrize("shift_mm", [0.0, 5.0])
@pytest.mark.parametrize("concatenated", [False, True])
def test_files_of_one_range_are_separated(tmp_path, shift_mm, concatenated):
    volumes = [chest(24), chest(24, seed=1)]
    for number, hu in enumerate(volumes):
        halves = [range(12), range(12, 24)] if concatenated else [range(24)]
        for half, own in enumerate(halves):
            uid = {"ConcatenationUID": f"1.2.{number + 1}"} if concatenated else {}
            ds = parts_of_files(hu, list(own), shift_mm * number, **uid)
            save(ds, tmp_path / f"{number}{half}.dcm")
    series = sorted(series_of(tmp_path), key=lambda s: s.files)
    assert [[w.code for w in s.verdict.warnings] for s in series] == [["shared-series-uid"]] * 2
    for one, hu in zip(series, volumes, strict=True):
        assert one.verdict.usable
        np.testing.assert_array_equal(read_volume(one).hu, hu)


def test_a_radiograph_of_several_frames_is_one_image(tmp_path):
    ds = slice_dataset(chest(1)[0], (0, 0, 0), Modality="XA", NumberOfFrames=9)
    ds.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(9)]
    (header,) = read_headers(save(ds, tmp_path / "a.dcm"))
    assert header.frame is None
