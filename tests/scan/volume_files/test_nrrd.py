"""NRRD files read as ITK reads them, and no header of one does any harm."""

import bz2
import contextlib
import gzip
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import UnreadableScanError
from darnet_trt.scan import find_studies, read_volume
from darnet_trt.scan.volume_files.nrrd import read_header
from tests.scan.series_factory import only
from tests.scan.volume_files.itk_files import (
    IMAGES,
    VALUES,
    agree_with_itk,
    stored_values,
    write_image,
)

DATA = VALUES.astype("<i2").tobytes()
HEADER = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "20 20 12",
    "space directions": "(4,0,0) (0,4.5,0) (0,0,10)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(1,2,3)",
}


def write(path, data=DATA, **fields):
    """Write a file by hand; None leaves a field out; `_` stands for a blank in a name."""
    lines = {**HEADER, **{name.replace("_", " "): value for name, value in fields.items()}}
    text = "".join(f"{name}: {value}\n" for name, value in lines.items() if value is not None)
    path.write_bytes(f"NRRD0005\n{text}\n".encode("utf-8", "surrogateescape") + data)
    return path


values = partial(stored_values, read_header)
agree = partial(agree_with_itk, read_header, atol=1e-9)


@settings(max_examples=40)
@given(name=st.sampled_from(["a.nrrd", "a.nhdr"]), **IMAGES)
def test_files_that_itk_writes(tmp_path_factory, name, **image):
    path = write_image(tmp_path_factory.mktemp("nrrd") / name, **image)
    agree(path)
    assert read_header(path).oriented


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (VALUES.astype(">i2").tobytes(), {"endian": "big"}),
        (DATA, {"type": "signed short int"}),
        (DATA, {"space": "LPS"}),
        (DATA, {"space": "right-anterior-superior"}),
        (DATA, {"space": "RAS"}),
        (DATA, {"space": "left-anterior-superior"}),
        (DATA, {"space": "LAS"}),
        (DATA, {"space_origin": None}),
        (DATA, {"measurement_frame": "(1,0,0) (0,1,0) (0,0,1)"}),
        (DATA, {"centerings": "cell cell cell", "space_units": '"mm" "mm" "mm"'}),
        (b"12345" + DATA, {"byte_skip": "5"}),
        (b"12345" + DATA, {"byteskip": "-1"}),
        (b"one\ntwo\n" + DATA, {"line_skip": "2"}),
        (b"one\ntwo\n12345" + DATA, {"line skip": "2", "byte skip": "5"}),
        (gzip.compress(DATA), {"encoding": "gzip"}),
        (gzip.compress(DATA[:999]) + gzip.compress(DATA[999:]), {"encoding": "gz"}),
    ],
)
def test_files_written_by_hand(tmp_path, data, fields):
    agree(write(tmp_path / "a.nrrd", data, **fields))


@pytest.mark.parametrize("encoding", ["bz2", "bzip2"])
def test_bzip2_which_simpleitk_is_built_without(tmp_path, encoding):
    path = write(tmp_path / "a.nrrd", bz2.compress(DATA), encoding=encoding)
    np.testing.assert_array_equal(values(path), VALUES)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UnreadableScanError) as caught:
        values(path)
    assert caught.value.code == "truncated"


def test_bytes_before_the_voxels_in_a_gzip_stream(tmp_path):
    path = write(tmp_path / "a.nrrd", gzip.compress(b"12345" + DATA), encoding="gz", byte_skip="5")
    np.testing.assert_array_equal(values(path), VALUES)


def test_comments_keys_and_line_ends_of_windows(tmp_path):
    path = write(tmp_path / "a.nrrd", b"")
    head = path.read_bytes().replace(b"\n", b"\r\n").replace(b"endian", b"# x\r\nk:=v: 1\r\nENDIAN")
    path.write_bytes(head + DATA)
    np.testing.assert_array_equal(values(path), VALUES)


def test_voxels_in_a_file_beside_the_header(tmp_path):
    (tmp_path / "ä b.raw").write_bytes(b"1234" + DATA)
    agree(write(tmp_path / "a.nhdr", b"", byte_skip="4", data_file="ä b.raw"))
    assert only(tmp_path / "a.nhdr").files == (tmp_path / "a.nhdr", tmp_path / "ä b.raw")


@pytest.mark.parametrize(
    "fields",
    [
        {"space": "scanner-xyz"},
        {"space": "3D-right-handed"},
        {"space": None, "space_dimension": "3"},
        {"space": None, "space_directions": None, "space_origin": None, "spacings": "4 4.5 10"},
    ],
)
def test_a_space_that_is_not_the_patient_s(tmp_path, fields):
    series = only(write(tmp_path / "a.nrrd", **fields))
    assert series.verdict.usable
    assert not series.oriented
    assert [warning.code for warning in series.verdict.warnings] == ["no-orientation"]
    assert series.spacing_mm == pytest.approx((10, 4.5, 4))


def test_spacings_that_contradict_the_directions(tmp_path):
    series = only(write(tmp_path / "a.nrrd", spacings="4 4.5 5"))
    assert [warning.code for warning in series.verdict.warnings] == ["voxel-sizes-differ"]
    assert series.spacing_mm == pytest.approx((10, 4.5, 4))
    assert only(write(tmp_path / "a.nrrd", spacings="4 4.5 10")).verdict.warnings == ()


def test_units_of_length(tmp_path):
    metres = {"space_directions": "(.004,0,0) (0,.0045,0) (0,0,.01)", "space_units": '"m" "m" "m"'}
    assert only(write(tmp_path / "a.nrrd", **metres)).spacing_mm == pytest.approx((10, 4.5, 4))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (
            {
                "dimension": "4",
                "sizes": "3 20 20 12",
                "kinds": "RGB-color domain domain domain",
                "space directions": "none (4,0,0) (0,4,0) (0,0,9)",
            },
            "multi-valued",
        ),
        (
            {
                "dimension": "4",
                "sizes": "20 20 12 5",
                "kinds": "domain domain domain time",
                "space": None,
                "space directions": None,
                "space origin": None,
            },
            "multi-valued",
        ),
        ({"dimension": "2", "sizes": "20 20", "kinds": None, "space directions": None,
          "space": None, "space origin": None}, "not-a-volume"),
        ({"space directions": "(4,0,0) (4,0,0) (0,0,9)"}, "axes-not-distinct"),
    ],
)  # fmt: skip
def test_what_is_not_a_volume_of_a_ct(tmp_path, fields, code):
    verdict = only(write(tmp_path / "a.nrrd", **fields)).verdict
    assert not verdict.usable
    assert verdict.reason.code == code


def test_an_axis_of_length_1_before_the_volume(tmp_path):
    fields = {
        "dimension": "4",
        "sizes": "1 20 20 12",
        "kinds": "list domain domain domain",
        "space directions": "none (4,0,0) (0,4.5,0) (0,0,10)",
    }
    path = write(tmp_path / "a.nrrd", **fields)
    assert only(path).spacing_mm == pytest.approx((10, 4.5, 4))
    np.testing.assert_array_equal(read_volume(only(path)).hu, VALUES)


@pytest.mark.parametrize(
    ("fields", "code", "fact"),
    [
        ({"type": "block"}, "not-ct-values", "block"),
        ({"type": None}, "not-ct-values", "''"),
        ({"encoding": "ascii"}, "text-voxels", "text"),
        ({"encoding": "hex"}, "text-voxels", "text"),
        ({"encoding": "lzma"}, "broken-header", "encoding 'lzma'"),
        ({"endian": None}, "broken-header", "no endian"),
        ({"dimension": "4"}, "broken-header", "dimension '4' and sizes '20 20 12' contradict"),
        ({"dimension": "0"}, "broken-header", "dimension '0'"),
        ({"dimension": "99"}, "broken-header", "dimension '99'"),
        ({"sizes": "20 20 -12"}, "broken-header", "sizes '20 20 -12'"),
        ({"sizes": "9" * 400 + " 20 12"}, "broken-header", "sizes '999"),
        ({"sizes": "20000 20000 12000"}, "truncated", "of 9600000000000 bytes"),
        ({"space": "mars"}, "broken-header", "space 'mars'"),
        ({"space directions": "(4,0,0) (0,4,0)"}, "broken-header", "space directions"),
        ({"space directions": "(4,0) (0,4) (0,0)"}, "broken-header", "space directions"),
        ({"space directions": "4 0 0 0 4 0 0 0 9"}, "broken-header", "space directions"),
        ({"space directions": "(4,0,0) (0,inf,0) (0,0,9)"}, "broken-header", "space directions"),
        ({"space directions": "(4,0,0) (0,1e300,0) (0,0,9)"}, "broken-header", "space directions"),
        ({"space directions": "(4,0,0) (0,1e7,0) (0,0,9)"}, "broken-header", "geometry"),
        ({"space directions": "(4,0,0) (0,0,0) (0,0,9)"}, "broken-header", "voxels of size 0"),
        ({"space origin": "(1,2)"}, "broken-header", "space origin"),
        ({"space origin": "(1,nan,2)"}, "broken-header", "space origin"),
        ({"space units": '"mm" "inch" "mm"'}, "broken-header", "space units"),
        ({"kinds": "domain", "space directions": None}, "broken-header", "kinds"),
        ({"byte skip": "-5"}, "broken-header", "byte skip '-5'"),
        ({"byte skip": "9" * 17}, "truncated", "0 of 9600"),
        ({"line skip": "99999"}, "broken-header", "line skip"),
        ({"encoding": "gzip", "byte skip": "99999999"}, "broken-header", "byte skip"),
        ({"encoding": "gzip"}, "cannot-read", "Error"),
        ({"data file": "LIST"}, "several-voxel-files", "several files"),
        ({"data file": "a%02d.raw 1 12 1"}, "several-voxel-files", "several files"),
        ({"data file": "nope.raw"}, "no-voxel-file", "'nope.raw'"),
        ({"data file": "x" * 9999}, "no-voxel-file", "xxx"),
    ],
)
def test_a_broken_header_is_named_once(tmp_path, capfd, fields, code, fact):
    path = write(tmp_path / "a.nrrd", **fields)
    with pytest.raises(UnreadableScanError, match=re.escape(fact)) as caught:
        read_volume(only(path))
    assert caught.value.code == code
    assert caught.value.where == str(path)
    assert str(caught.value).isprintable()
    assert capfd.readouterr() == ("", "")


def test_a_field_that_stands_there_twice(tmp_path):
    path = write(tmp_path / "a.nrrd", **{"Sizes": "20 20 13"})
    with pytest.raises(UnreadableScanError, match="sizes '20 20 12' and sizes '20 20 13'"):
        find_studies(path)


@pytest.mark.parametrize("length", [1000, 2000, 100_000, 1_000_000])
def test_long_lines_at_which_itk_crashes(tmp_path, length):
    path = write(tmp_path / "a.nrrd", content="x" * length)
    if length < 200_000:
        np.testing.assert_array_equal(values(path), VALUES)
    else:
        with pytest.raises(UnreadableScanError, match="does not end"):
            find_studies(path)


def test_no_header_crashes_it(tmp_path, capfd):
    path = write(tmp_path / "a.nrrd", data_file=None)
    whole = path.read_bytes()
    end = whole.index(b"\n\n") + 2
    words = st.binary(max_size=4) | st.sampled_from(
        [b"-1", b"0", b"1e30", b"nan", b"99999999999", b"\n", b": ", b"none", b"%s%n", b"A" * 2000]
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


def test_only_line_feeds_end_a_line(tmp_path):
    agree(write(tmp_path / "a.nrrd", content="a\x85type: float\u2028sizes: 1 1 1\x0bdimension: 2"))


def test_kinds_that_contradict_the_directions(tmp_path):
    for kinds in ("RGB-color domain domain", "domain domain time", "domain domain"):
        with pytest.raises(UnreadableScanError) as caught:
            read_header(write(tmp_path / "a.nrrd", kinds=kinds))
        assert caught.value.code == "broken-header"


def test_a_header_that_names_itself_for_the_voxels(tmp_path):
    with pytest.raises(UnreadableScanError) as caught:
        read_header(write(tmp_path / "a.nrrd", data_file="a.nrrd"))
    assert caught.value.code == "voxel-file-elsewhere"


def test_a_path_of_windows(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.raw").write_bytes(DATA)
    path = write(tmp_path / "a.nhdr", b"", data_file="sub\\a.raw")
    np.testing.assert_array_equal(values(path), VALUES)
