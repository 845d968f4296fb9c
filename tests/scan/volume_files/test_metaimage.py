"""MetaImage files read as ITK reads them, and no header of one does any harm."""

import contextlib
import re
from functools import partial

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import find_studies, read_volume
from darnet_trt.scan.volume_files.metaimage import read_header
from tests.scan.volume_files.itk_files import (
    IMAGES,
    VALUES,
    agree_with_itk,
    stored_values,
    write_image,
)

HEADER = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "DimSize": "20 20 12",
    "ElementType": "MET_SHORT",
}
DATA = VALUES.astype("<i2").tobytes()


def write(path, data=DATA, **fields):
    """Write a file by hand; None leaves a field out."""
    lines = {**HEADER, **fields}
    lines.setdefault("ElementDataFile", "LOCAL")  # the last one
    text = "".join(f"{name} = {value}\n" for name, value in lines.items() if value is not None)
    path.write_bytes(text.encode() + data)
    return path


values = partial(stored_values, read_header)
agree = partial(agree_with_itk, read_header, rtol=0, atol=1e-300)


@settings(max_examples=40)
@given(name=st.sampled_from(["a.mha", "a.mhd"]), **IMAGES)
def test_files_that_itk_writes(tmp_path_factory, name, **image):
    path = write_image(tmp_path_factory.mktemp("meta") / name, **image)
    agree(path)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (DATA, {"BinaryData": None}),
        (VALUES.astype(">i2").tobytes(), {"BinaryDataByteOrderMSB": "True"}),
        (VALUES.astype(">i2").tobytes(), {"ElementByteOrderMSB": "true"}),
        (DATA, {"ElementSize": "2 3 4"}),
        (DATA, {"ElementSize": "2 3 4", "ElementSpacing": "5 6 7"}),
        (DATA, {"Position": "1 2 3"}),
        (DATA, {"Origin": "1 2 3", "Rotation": "0 1 0 -1 0 0 0 0 1"}),
        (b"more header" + DATA, {"HeaderSize": "-1"}),
    ],
)
def test_files_written_by_hand(tmp_path, data, fields):
    agree(write(tmp_path / "a.mha", data, **fields))


def test_voxels_in_another_file_behind_a_header_of_its_own(tmp_path):
    (tmp_path / "ä b.raw").write_bytes(b"1234" + DATA)
    path = write(tmp_path / "a.mhd", b"", HeaderSize="4", ElementDataFile="ä b.raw")
    agree(path)


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ({"NDims": "-1"}, "has a broken header (NDims '-1')"),
        ({"NDims": "11"}, "has a broken header (NDims '11')"),
        ({"NDims": "three"}, "has a broken header (NDims 'three')"),
        ({"NDims": None}, "has a broken header (no NDims)"),
        ({"DimSize": "20 20"}, "(NDims '3' and DimSize '20 20' contradict each other)"),
        ({"DimSize": "20 20 -12"}, "has a broken header (DimSize '20 20 -12')"),
        ({"ElementSpacing": "1 1 0"}, "has a broken header (ElementSpacing '1 1 0')"),
        ({"ElementSize": "1 1 -1"}, "has a broken header (ElementSize '1 1 -1')"),
        ({"TransformMatrix": "1 0 0"}, "has a broken header (TransformMatrix '1 0 0')"),
        ({"Offset": "0 nan 0"}, "has a broken header (Offset '0 nan 0')"),
        ({"HeaderSize": "\x00\x1b"}, "has a broken header (HeaderSize '\\x00\\x1b')"),
        ({"ElementType": "MET_STRING"}, "has element type 'MET_STRING', which no CT has"),
        ({"ElementDataFile": None}, "has no ElementDataFile in its header"),
        ({"ElementDataFile": "nope.raw"}, "'nope.raw'"),
        ({"ElementDataFile": "."}, "outside its folder: '.'"),
        ({"ElementDataFile": "x" * 9999}, "does not exist: 'xxx"),
        ({"BinaryData": "False"}, "voxels as text"),
        ({"ElementDataFile": "LIST"}, "voxels in several files"),
        ({"ElementDataFile": "%03d.raw 1 12 1"}, "voxels in several files"),
        ({"DimSize": "100000 100000 100000"}, "truncated: 9600 of 2000000000000000 bytes"),
        ({"CompressedData": "True"}, "cannot be read (Error"),
        ({"DimSize": "9" * 400 + " 20 12"}, "has a broken header (DimSize"),
        ({"DimSize": "9" * 5000 + " 20 12"}, "has a broken header (DimSize"),
    ],
)
def test_a_broken_header_is_named_once(tmp_path, capfd, fields, facts):
    path = write(tmp_path / "a.mhd", **fields)
    with pytest.raises(UnreadableScanError, match=re.escape(facts)) as caught:
        values(path)
    assert caught.value.where == str(path)
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def test_cut_short_where_the_voxels_are(tmp_path, capfd):
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), tmp_path / "a.mha")
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), tmp_path / "b.mhd")
    for name, holder in [("a.mha", "a.mha"), ("b.mhd", "b.raw")]:
        file = tmp_path / holder
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(UnreadableScanError) as caught:
            values(tmp_path / name)
        assert caught.value.where == str(file)
        assert "truncated: 9500 of 9600 bytes" in caught.value.what
    assert capfd.readouterr() == ("", "")


def test_a_packed_file_unpacks_to_no_more_than_its_header_says(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((300, 300, 300), np.int16))
    sitk.WriteImage(image, tmp_path / "a.mha", useCompression=True)
    whole = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(whole.replace(b"300 300 300", b"20 20 12"))
    with pytest.raises(UnreadableScanError) as caught:
        values(tmp_path / "a.mha")
    assert caught.value.code == "voxels-left-over"


def test_voxels_that_begin_later_than_the_header_says(tmp_path):
    for fields in ({"HeaderSize": "64"}, {}):
        path = write(tmp_path / "a.mha", bytes(64) + DATA, **fields)
        with pytest.raises(UnreadableScanError) as caught:
            values(path)
        assert caught.value.code == "voxels-left-over"


def test_a_scale_in_the_header(tmp_path):
    stored = (VALUES + 1100) // 2
    scale = {"ElementToIntensityFunctionSlope": "2", "ElementToIntensityFunctionOffset": "-1024"}
    data = stored.astype("<u2").tobytes()
    path = write(tmp_path / "a.mha", data, ElementType="MET_USHORT", **scale)
    np.testing.assert_allclose(values(path), stored * 2.0 - 1024)


def test_without_a_spacing(tmp_path):
    (study,) = find_studies(write(tmp_path / "a.mha", Offset="1 2 3"))
    assert study.series[0].verdict.reason.code == "placeholder-geometry"


def test_only_line_feeds_end_a_line(tmp_path):
    agree(write(tmp_path / "a.mha", Comment="a\x0bDimSize = 1 1 1\x85NDims = 2"))


def test_no_header_crashes_it(tmp_path, capfd):
    path = write(tmp_path / "a.mha", ElementSpacing="9 9 9", Offset="1 2 3", HeaderSize="0")
    whole = path.read_bytes()
    end = whole.index(b"LOCAL") + 6
    words = st.binary(max_size=4) | st.sampled_from(
        [b"-1", b"0", b"1e30", b"nan", b"99999999999", b"\n", b"=", b"%s%n", b"A" * 300]
    )

    @settings(max_examples=300)
    @given(st.lists(st.tuples(st.integers(0, end), st.integers(0, 4), words), max_size=3))
    def survives(changes):
        broken = bytearray(whole)
        for at, length, word in changes:
            broken[at : at + length] = word
        path.write_bytes(broken)
        with contextlib.suppress(UnreadableScanError):
            for study in find_studies(path):
                if study.series[0].verdict.usable:
                    read_volume(study.series[0])

    survives()
    assert capfd.readouterr() == ("", "")
