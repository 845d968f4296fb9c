"""NIfTI files: what nibabel reads is read the same, and what is damaged is named."""

import contextlib
import gzip
import re
import struct

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan import Preprocessing, find_studies, load_input, read_volume
from tests.scan.series_factory import chest, only

AFFINE = np.array([[-6.0, 0, 0, 5], [0, -6.5, 0, -7], [0, 0, 10, 11], [0, 0, 0, 1]])
"""RAS: the axes of the array run Left, Posterior, Superior."""
KINDS = [nibabel.Nifti1Image, nibabel.Nifti2Image]


def write(path, *fields, array=None, affine=AFFINE, kind=nibabel.Nifti1Image):
    """Write an S P L array, with some fields of the header (offset, type, value) changed."""
    array = chest(12) if array is None else array
    image = kind(array.transpose(2, 1, 0), affine, dtype=array.dtype)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    data = bytearray(image.to_bytes())
    for at, code, value in fields:
        struct.pack_into(f"<{code}", data, at, value)
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


def volume(path):
    return read_volume(only(path))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_versions_byte_orders_and_types(tmp_path, kind, order, name, dtype):
    hu = chest(12).clip(0, 100) if dtype[1] == "1" or dtype[0] == "u" else chest(12)
    header = kind.header_class(endianness=order)
    image = kind(hu.transpose(2, 1, 0).astype(dtype), AFFINE, header, dtype=np.dtype(dtype))
    nibabel.save(image, tmp_path / name)
    assert nibabel.load(tmp_path / name).header.endianness == order
    read = volume(tmp_path)
    np.testing.assert_array_equal(read.hu, hu)
    assert read.spacing_mm == pytest.approx((10, 6.5, 6))
    assert read.origin_mm == pytest.approx((-5, 7, 11))
    np.testing.assert_allclose(read.direction, np.eye(3)[::-1], atol=1e-9)


@settings(max_examples=25)
@given(
    axes=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    turn_deg=st.floats(-8, 8),
)
def test_any_orientation_as_nibabel_places_it(tmp_path_factory, axes, flips, turn_deg):
    path = tmp_path_factory.mktemp("axes") / "a.nii"
    turn = np.radians(turn_deg)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    image = nibabel.Nifti1Image(chest(12).transpose(2, 1, 0), turned @ AFFINE)
    ornt = [(axis, -1 if flip else 1) for axis, flip in zip(axes, flips, strict=True)]
    nibabel.save(image.as_reoriented(np.array(ornt)), path)
    read = volume(path)
    np.testing.assert_array_equal(read.hu, chest(12))
    np.testing.assert_allclose(read.spacing_mm, (10, 6.5, 6), rtol=1e-5)
    lps = np.diag([-1, -1, 1]) @ (turned @ AFFINE)[:3]
    np.testing.assert_allclose(read.origin_mm, lps[:, 3], atol=1e-3)
    np.testing.assert_allclose(read.direction[:, ::-1] * (6, 6.5, 10), lps[:, :3], atol=1e-4)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (7, 1)])
def test_units(tmp_path, code, factor):
    affine = np.diag([1 / factor] * 3 + [1]) @ AFFINE
    path = write(tmp_path / "a.nii", (123, "B", code | 8), affine=affine)
    assert only(path).spacing_mm == pytest.approx((10, 6.5, 6))


@pytest.mark.parametrize(
    "fields",
    [
        [(254, "h", 0), (280, "f", np.nan)],  # sform_code, srow_x
        [(252, "h", 0), (256, "f", np.nan)],  # qform_code, quatern_b
        [(254, "h", 0), (76, "f", 0)],  # qfac 0 means 1
        [(254, "h", 0), (264, "f", 1.00001)],  # a quaternion, rounded
        [(84, "f", np.nan)],  # pixdim[2]: the sform counts
        [(40, "h", 5)],  # further axes of length 1
    ],
)
def test_fields_that_are_not_used_may_hold_anything(tmp_path, fields):
    np.testing.assert_allclose(volume(write(tmp_path / "a.nii", *fields)).spacing_mm, (10, 6.5, 6))


def test_a_rounded_affine_is_read(tmp_path):
    rounded = AFFINE.copy()
    rounded[:3, :3] += np.random.default_rng(0).uniform(-6e-4, 6e-4, (3, 3))
    path = write(tmp_path / "a.nii", (252, "h", 0), affine=rounded)
    np.testing.assert_array_equal(volume(path).hu, chest(12))


def test_slope_and_intercept(tmp_path):
    fields = [(112, "f", 2), (116, "f", -1024)]
    np.testing.assert_array_equal(
        volume(write(tmp_path / "a.nii", *fields)).hu, 2.0 * chest(12) - 1024
    )


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_without_a_slope_the_values_are_as_stored(tmp_path, slope):
    path = write(tmp_path / "a.nii", (112, "f", slope), (116, "f", 5))
    np.testing.assert_array_equal(volume(path).hu, chest(12))


@pytest.mark.parametrize(
    ("fields", "facts"),
    [
        ([(0, "i", 349)], "not a NIfTI file"),
        ([(344, "4s", b"n+2\0")], "not a NIfTI file"),  # the other version's
        ([(344, "i", 0)], "not a NIfTI file"),  # nor ANALYZE, by its name
        ([(40, "h", 0)], "0 dimensions"),
        ([(40, "h", 9)], "9 dimensions, 64×64×12×"),
        ([(44, "h", -5)], "3 dimensions, 64×-5×12 voxels"),
        ([(70, "h", 128)], "data type 128"),  # RGB
        ([(70, "h", 32)], "data type 32"),  # complex
        ([(70, "h", 7)], "data type 7"),  # unknown
        ([(280, "f", np.inf)], "its geometry is not a number"),  # srow_x
        ([(280, "f", 1e30)], "its geometry is not a number"),
        ([(280, "f", 0)], "voxels of size 0"),
        ([(108, "f", np.nan)], "begin at byte nan"),  # vox_offset
        ([(108, "f", np.inf)], "begin at byte inf"),
        ([(108, "f", -1)], "begin at byte -1"),
        ([(254, "h", 0), (84, "f", 0)], "voxels of size 0"),
        ([(254, "h", 0), (256, "f", 5)], "w2 should be positive"),
        ([(112, "f", 2), (116, "f", np.nan)], "intercept nan"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_broken_header_is_named_once(tmp_path, capfd, fields, facts, name):
    path = write(tmp_path / name, *fields)
    with pytest.raises(UnreadableScanError, match=re.escape(facts)) as caught:
        find_studies(path)
    assert caught.value.where == str(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00 no gzip at all"])
def test_files_that_are_not_nifti(tmp_path, capfd, content):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableScanError, match=r"a\.nii\.gz: (is not a NIfTI|cannot be read)"):
        find_studies(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cut", [10, 5000, 90_000])
def test_cut_before_it_was_packed(tmp_path, cut):
    whole = write(tmp_path / "whole.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(whole[:-cut]))
    size = 12 * 64 * 64 * 2
    with pytest.raises(UnreadableScanError, match=f"truncated: {size - cut} of {size} bytes"):
        volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("at", [3000, -6, -2])
def test_a_damaged_gzip_file(tmp_path, at):
    path = write(tmp_path / "a.nii.gz")
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UnreadableScanError, match="cannot be read"):
        volume(path)


def test_gzip_members_one_behind_the_other(tmp_path):
    whole = write(tmp_path / "whole.nii").read_bytes()
    parts = [gzip.compress(whole[i : i + 9000]) for i in range(0, len(whole), 9000)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(parts))
    np.testing.assert_array_equal(volume(tmp_path / "a.nii.gz").hu, chest(12))


def test_bytes_behind_the_voxels(tmp_path):
    whole = write(tmp_path / "whole.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(whole + b"\r\n"))
    np.testing.assert_array_equal(volume(tmp_path / "a.nii.gz").hu, chest(12))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(whole + bytes(50)))
    with pytest.raises(UnreadableScanError) as caught:
        volume(tmp_path / "a.nii.gz")
    assert caught.value.code == "voxels-left-over"
    (tmp_path / "b.nii").write_bytes(whole + bytes(50))
    with pytest.raises(UnreadableScanError) as caught:
        find_studies(tmp_path / "b.nii")
    assert caught.value.code == "voxels-left-over"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_header_that_claims_terabytes_costs_no_memory(tmp_path, name):
    path = write(tmp_path / name, *((at, "h", 32767) for at in (42, 44, 46)))
    with pytest.raises(UnreadableScanError, match="bytes of voxels"):
        find_studies(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_no_header_crashes_it(tmp_path, capfd, kind, name):
    path = tmp_path / "whole.nii"
    whole = write(path, kind=kind).read_bytes()
    path.unlink()
    words = st.binary(min_size=1, max_size=8) | st.sampled_from(
        [struct.pack("<f", v) for v in (np.nan, np.inf, -np.inf, 0, 3e38)]
        + [struct.pack("<d", v) for v in (np.nan, np.inf, -1, 1e300)]
        + [struct.pack("<q", v) for v in (-1, 1 << 62)]
    )

    @settings(max_examples=100)
    @given(st.lists(st.tuples(st.integers(0, 540), words), min_size=1, max_size=4))
    def survives(changes):
        broken = bytearray(whole)
        for at, word in changes:
            broken[at : at + len(word)] = word
        (tmp_path / name).write_bytes(gzip.compress(broken, 1) if name[-1] == "z" else broken)
        with contextlib.suppress(UnreadableScanError, RefusedScanError):
            load_input(only(tmp_path / name), Preprocessing(size=(4, 8, 8)))

    survives()
    assert capfd.readouterr() == ("", "")
