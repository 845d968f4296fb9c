"""Values that no body shows are refused, in any slice."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from darnet_trt.errors import RefusedScanError
from darnet_trt.scan import Preprocessing, load_input
from darnet_trt.scan.plausibility.hounsfield import judge_values
from tests.scan.series_factory import chest, only, write_series

SLICES = 24
DENSE = "of a slice lies above 1500 HU"
NAMES = [f"{index}.dcm" for index in range(SLICES)]


def judge(hu, calibrated=True):
    return judge_values(np.asarray(hu, np.float32), NAMES, calibrated)


def refusal(hu):
    reason, warnings = judge(hu)
    assert reason is not None
    assert warnings == ()
    return reason


def with_slices(replaced, values):
    """Return a chest with some of its slices replaced."""
    hu = chest(SLICES).astype(np.float32)
    hu[replaced] = values
    return hu


def random_bytes(slices):
    """Return values that 12 stored bits hold, drawn at random."""
    return np.random.default_rng(0).integers(-1024, 3072, (slices, 64, 64))


def byteswapped():
    return ((chest() + 1024).astype(np.uint16).byteswap() & 0xFFF) - 1024.0


def test_a_chest():
    assert judge(chest(SLICES)) == (None, ())


@pytest.mark.parametrize(
    ("hu", "reason"),
    [
        (np.full((SLICES, 64, 64), 7), "the same value (7)"),
        (chest() * 100.0, "cannot be Hounsfield units"),
        (chest() + 1024.0, "0.0% of them air"),
        (chest() - 1024.0, "0.0% of them soft tissue"),
        (2 * (chest() + 1024.0) - 1024, "0.0% of them soft tissue"),  # the slope doubled
        (chest() + 300.0, "0.0% of them soft tissue"),
        (chest() + 210.0, "is 250 HU (possible: -200 to 200)"),
        (byteswapped(), "39% of a slice lies above 1500 HU"),
    ],
)
def test_scales_that_are_not_hounsfield_s(hu, reason):
    assert reason in refusal(hu)


@pytest.mark.parametrize(
    ("replaced", "values", "found", "which"),
    [
        (15, random_bytes(1)[0], DENSE, "15.dcm"),
        (np.s_[12:17], random_bytes(5), DENSE, "5 of 24 slices, first 12.dcm"),
        (0, random_bytes(1)[0], DENSE, "0.dcm"),
        (15, 31000 + chest(SLICES)[15] / 10, f"100% {DENSE}", "15.dcm"),
        (15, chest(SLICES)[15] * 1000.0, "cannot be Hounsfield units", "15.dcm"),
        (15, 31000, f"100% {DENSE}", "15.dcm"),
        (15, -1024, "one value", "15.dcm"),
        (np.s_[12:17], 0, "one value", "5 of 24 slices, first 12.dcm"),
        (np.s_[6:18], -1024, "one value", "12 of 24 slices, first 6.dcm"),
        (np.s_[3:21:4], -1024, "one value", "5 of 24 slices, first 3.dcm"),
        (15, chest(SLICES)[15] + 1024, "without air", "15.dcm"),
        (15, chest(SLICES)[15] + 500, "without soft tissue", "15.dcm"),
        (np.s_[:12], 0, "at its ends", "12 of 24 slices, first 0.dcm"),
    ],
)
def test_slices_that_are_not_like_the_others(replaced, values, found, which):
    reason = refusal(with_slices(replaced, values))
    assert found in reason
    assert f"({which}" in reason


@pytest.mark.parametrize(
    ("replaced", "which"),
    [
        (np.s_[:2], "2 of 24 slices, first 0.dcm"),
        (-1, "23.dcm"),
        ([0, 22, 23], "3 of 24 slices, first 0.dcm"),
    ],
)
@pytest.mark.parametrize("calibrated", [True, False])
def test_a_padded_volume_is_used_with_a_warning(replaced, which, calibrated):
    refused, (warning,) = judge(with_slices(replaced, -1024), calibrated)
    assert refused is None
    assert f"({which})" in warning


def lungs_alone(hu, fill):
    """Set everything but the lungs of a chest to one value."""
    return np.where((hu < -700) & (hu > -950), hu, fill)


@pytest.mark.parametrize("fill", [-32000, -3024, -2000, -1024, -1000, 0, 170, 3071])
def test_lungs_that_were_cut_out(fill):
    refused, _ = judge(lungs_alone(chest(SLICES), fill))
    assert refused.code == "segmented-lungs"
    assert f"the value {fill}" in refused


@pytest.mark.parametrize("fill", [0, 255])
def test_lungs_cut_out_of_pictures(fill):
    grey = lungs_alone(chest(SLICES), np.nan)
    grey = np.where(np.isnan(grey), fill, np.rint((grey + 1350) / 1500 * 255))
    grey += np.random.default_rng(0).integers(-1, 2, grey.shape)  # JPEG is not exact
    refused, _ = judge(grey.clip(0, 255) / 255 * 1500 - 1350, calibrated=False)
    assert refused.code == "segmented-lungs"


@pytest.mark.parametrize("air", [-2000, -1024, -1000, -980])
def test_a_body_in_clean_air_was_not_cut_out(air):
    """Air of one value outside the body, as clipping and denoising leave it."""
    hu = chest(SLICES).astype(np.float32)
    hu[hu < -950] = air
    assert judge(hu)[0] is None


@pytest.mark.parametrize("scale", [3071, 16000, 30000])
@pytest.mark.parametrize("padding", [-1024, -2000, -3024, -10240, -32768])
def test_metal_and_padding_are_no_fault(scale, padding):
    hu = chest(SLICES).astype(np.float32)
    hu[8:14, 20:28, 20:28] = scale  # an implant
    hu[8:14, 24, 28:50] = -scale / 8  # its streaks
    hu[8:14, 25, 28:50] = scale / 3
    corners = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j]) > 1
    hu[:, corners] = padding
    assert judge(hu) == (None, ())


def test_much_metal_is_worth_a_look():
    hu = chest(SLICES)
    hu[8:14, 20:35, 20:35] = 3071
    refused, (warning,) = judge(hu)
    assert refused is None
    assert "5%" in warning
    assert "6 of 24 slices, first 8.dcm" in warning


def test_a_scan_that_goes_on_into_the_abdomen():
    """Within a field of view that the body fills, slices below the lungs show no air."""
    hu = np.full((SLICES, 64, 64), 40.0)
    for index in range(10, SLICES):
        hu[index, 20:40, 10 : 10 + min(3 * (index - 9), 44)] = -850
    hu += np.random.default_rng(0).normal(0, 8, hu.shape)
    assert judge(hu) == (None, ())


@pytest.mark.parametrize(
    ("hu", "warning"),
    [
        (chest() + 100.0, "body is 140 HU (expected: -125 to 125)"),
        (chest() - 100.0, "air and lung is -1098 HU"),
    ],
)
def test_a_scale_slightly_off_gives_a_warning(hu, warning):
    refused, (found,) = judge(hu)
    assert refused is None
    assert warning in found


def test_grey_values_have_no_scale_to_be_off():
    saturated = np.where(chest() > -200, 150, chest())
    assert judge(saturated)[1] != ()
    assert judge(saturated, calibrated=False) == (None, ())


def test_the_file_is_named(tmp_path):
    write_series(tmp_path, with_slices(15, 0).astype(np.int16))
    with pytest.raises(RefusedScanError, match=r"\(IM0015\.dcm\)"):
        load_input(only(tmp_path), Preprocessing())


def test_the_slice_of_a_volume_is_numbered(tmp_path):
    broken = sitk.GetImageFromArray(with_slices(15, 0).astype(np.int16))
    broken.SetSpacing((6, 6, 10))
    sitk.WriteImage(broken, tmp_path / "a.nrrd")
    with pytest.raises(RefusedScanError, match=r"\(slice 16 of 24\)"):
        load_input(only(tmp_path), Preprocessing())


def test_an_outside_that_is_filled_with_water():
    hu = chest(SLICES).astype(np.float32)
    h, w = np.mgrid[-1:1:64j, -1:1:64j]
    outside = h**2 + w**2 > 1
    for fill in (0, 40, -300):
        assert refusal(np.where(outside, fill, hu)).code == "filled-outside"
    for air in (-1000, -1024, -2000, -3024):
        assert judge(np.where(outside, air, hu))[0] is None


def test_pictures_of_masks():
    lung = (chest(SLICES) < -500) & (chest(SLICES) > -950)
    smooth = lung.astype(np.float32)
    smooth[:, :, 1:] = (smooth[:, :, 1:] + smooth[:, :, :-1]) / 2
    for mask in (smooth, lung * (3 / 255)):
        refused, _ = judge(mask * 1500 - 1350, calibrated=False)
        assert refused.code == "mask"
    for center, width in ((-600, 1500), (-600, 1200), (-500, 1000)):
        shares = ((chest(SLICES) - center) / width + 0.5).clip(0, 1)
        assert judge(shares * 1500 - 1350, calibrated=False)[0] is None
