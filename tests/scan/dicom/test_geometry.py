"""However slices are stored, the same volume comes out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.scan import read_volume
from darnet_trt.scan.dicom.geometry import stack_slices
from tests.scan.series_factory import chest, only, save, slice_dataset

AXES = [
    (in_rows, in_columns)
    for x, y in itertools.product((1, -1), (1, -1))
    for in_rows, in_columns in (((x, 0, 0), (0, y, 0)), ((0, y, 0), (x, 0, 0)))
]  # row direction (w as stored), column direction (h as stored)


@settings(max_examples=25)
@given(
    axes=st.sampled_from(AXES),
    order=st.permutations(range(12)),
    spacing=st.tuples(st.sampled_from([5.0, 7.5]), st.sampled_from([5.0, 6.5])),
    origin=st.tuples(*[st.integers(-300, 300)] * 3),
    names=st.permutations(range(12)),
)
def test_any_storage_of_a_volume_reads_the_same(
    tmp_path_factory, axes, order, spacing, origin, names
):
    folder = tmp_path_factory.mktemp("axes")
    hu = chest(12, 48)
    row_axis, column_axis = axes
    h_mm, w_mm = spacing
    transposed = row_axis[0] == 0
    for index in order:
        stored, first = hu[index], np.array(origin, float)
        first[2] += index * 10
        if row_axis[0] + column_axis[0] < 0:  # w runs to the right
            stored, first[0] = stored[:, ::-1], first[0] + 47 * w_mm
        if row_axis[1] + column_axis[1] < 0:  # h runs to the front
            stored, first[1] = stored[::-1], first[1] + 47 * h_mm
        save(
            slice_dataset(
                np.ascontiguousarray(stored.T if transposed else stored),
                first,
                ImageOrientationPatient=[*row_axis, *column_axis],
                PixelSpacing=[w_mm, h_mm] if transposed else [h_mm, w_mm],
            ),
            folder / f"{names[index]}.dcm",
        )
    volume = read_volume(only(folder))
    np.testing.assert_array_equal(volume.hu, hu)
    assert volume.spacing_mm == (10, h_mm, w_mm)
    assert volume.origin_mm == pytest.approx(origin)
    np.testing.assert_allclose(volume.direction, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


@given(angle=st.floats(0, 44))
def test_an_oblique_reformat_is_not_a_tilt(angle):
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    origins = [tuple(i * 2.0 * np.array([0, sin, cos])) for i in range(10)]
    stack = stack_slices(origins, [1, 0, 0, 0, cos, -sin], (1, 1), (64, 64))
    assert stack.tilt_deg < 0.01
    assert stack.oblique_deg == pytest.approx(angle, abs=1e-4)
    np.testing.assert_allclose(np.diff(stack.positions_mm), 2)
