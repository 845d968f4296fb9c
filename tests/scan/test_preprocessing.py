"""The linear map, against its definition in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.scan import Preprocessing, Volume, preprocess
from darnet_trt.scan.plausibility.lungs import Lungs
from darnet_trt.scan.preprocessing import (
    NEW,
    depth_matrix,
    lung_span,
    needed_slices,
    preprocess_slices,
)

sizes = st.tuples(*[st.integers(1, 40)] * 3)
shapes = st.tuples(st.integers(1, 60), st.integers(2, 90), st.integers(2, 90))


def reference(spec, hu):
    """Average areas by counting on a fine grid; interpolate the depth with numpy; float64."""
    low = spec.window_center_hu - spec.window_width_hu / 2
    x = np.clip((np.maximum(hu, -1024.0) - low) / spec.window_width_hu, 0, 1)
    for axis, n_out in ((1, spec.size[1]), (2, spec.size[2])):
        n_in = x.shape[axis]
        if n_out <= n_in:
            fine = np.repeat(x, n_out, axis)
            shape = [*fine.shape]
            shape[axis : axis + 1] = [n_out, n_in]
            x = fine.reshape(shape).mean(axis + 1)
        else:
            at = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
            x = np.apply_along_axis(lambda v, at=at, n=n_in: np.interp(at, range(n), v), axis, x)
    step = len(hu) / spec.size[0]
    at = np.clip((np.arange(spec.size[0]) + 0.5) * step - 0.5, 0, len(hu) - 1)
    near = np.rint(at)
    at = np.where(abs(at - near) <= spec.depth_snap * step, near, at)
    return np.apply_along_axis(lambda v: np.interp(at, range(len(hu)), v), 0, x)


@settings(max_examples=60)
@given(size=sizes, shape=shapes, seed=st.integers(0, 99))
def test_the_map_matches_its_definition(size, shape, seed):
    spec = Preprocessing(size=size)
    hu = np.random.default_rng(seed).integers(-2000, 1500, shape).astype(np.int16)
    array = preprocess(spec, Volume(hu, (1, 1, 1)))
    assert array.shape == (1, *size)
    assert array.dtype == np.float32
    assert array.min() >= 0
    assert array.max() <= 1
    np.testing.assert_allclose(array[0], reference(spec, hu), atol=2e-6)


@settings(max_examples=40)
@given(
    size=sizes,
    shape=shapes,
    slope=st.sampled_from([1.0, 0.5, 2.0, -1.0]),
    intercept=st.sampled_from([0.0, -1024.0, 12.5]),
    data=st.data(),
)
def test_streamed_slices_in_any_order_are_enough(size, shape, slope, intercept, data):
    spec = Preprocessing(size=size)
    stored = np.random.default_rng(1).integers(-100, 3000, shape).astype(np.int16)
    span = (0, shape[0])
    needed = needed_slices(spec, shape[0], span).tolist()
    order = data.draw(st.permutations(needed))
    items = ((i, stored[i], slope, intercept) for i in order)
    streamed = preprocess_slices(spec, shape[0], span, shape[1:], items)
    hu = (stored * np.float32(slope) + np.float32(intercept)).astype(np.float32)
    whole = preprocess(spec, Volume(hu, (1, 1, 1)))
    np.testing.assert_allclose(streamed, whole, atol=2e-6)
    unneeded = np.setdiff1d(np.arange(shape[0]), needed)
    hu[unneeded] = 1e4
    np.testing.assert_array_equal(preprocess(spec, Volume(hu, (1, 1, 1))), whole)


def test_thick_outputs_need_one_slice_each():
    assert len(needed_slices(Preprocessing(), 300, (0, 300))) == 64


@settings(max_examples=20)
@given(padding=st.sampled_from([-1024, -1025, -2000, -2048, -3024, -32768]), flat=st.booleans())
def test_what_lies_below_air_is_air(padding, flat):
    hu = np.random.default_rng(0).integers(-1000, 300, (20, 40, 40)).astype(np.int16)
    outside = np.zeros((40, 40), bool) if flat else np.hypot(*(np.mgrid[:40, :40] - 19.5)) > 20
    hu[:, outside] = -1024
    spec = Preprocessing(size=(8, 16, 16))
    expected = preprocess(spec, Volume(hu, (1, 1, 1)))
    hu[:, outside] = padding
    np.testing.assert_array_equal(preprocess(spec, Volume(hu, (1, 1, 1))), expected)


def test_a_specification_without_an_extent_takes_the_whole_scan():
    old = Preprocessing.model_validate_json('{"size": [64, 224, 224], "depth_snap": 0.125}')
    assert old.extent == "scan"
    assert NEW.extent == "lungs"
    assert Preprocessing.model_validate_json(NEW.model_dump_json()) == NEW


@pytest.mark.parametrize(
    "field", ["window_center_hu", "window_width_hu", "depth_snap", "margin_mm"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        Preprocessing(**{field: value})


def test_thin_series_need_one_slice_for_each_output():
    for slices in range(160, 700, 7):
        assert len(needed_slices(NEW, slices + 300, (150, 150 + slices))) == 64


@pytest.mark.parametrize("moved", [3, 37, 1000])
def test_a_span_is_sampled_alike_wherever_it_lies(moved):
    lungs = Lungs(40 + moved, 300 + moved, 40 + moved, 300 + moved, True, 1.0)
    span = lung_span(NEW, 400 + moved, lungs, 0.7)
    assert span == (40 - 43 + moved, 301 + 43 + moved)
    here = depth_matrix(NEW, 3000, (span[0] + 500, span[1] + 500))
    there = depth_matrix(NEW, 3000, span)
    np.testing.assert_array_equal(here[:, 500:], there[:, :-500])
