"""The grid of the network's input, found again from what the input shows."""

from dataclasses import replace

import numpy as np
import pytest

from darnet_trt.runtime.delivery.grid import grid_of
from darnet_trt.scan.loading.slices import Slices
from darnet_trt.scan.preprocessing import Preprocessing, needed_slices, preprocess_slices
from tests.scan.series_factory import only, save, slice_dataset

ROWS, COLUMNS, COUNT = 70, 66, 12
ROW_MM, COLUMN_MM, STEP_MM = 3.0, 4.0, 7.0
ORIGIN = np.array([-40.5, 30.25, -300.0])
COS, SIN = np.cos(0.15), np.sin(0.15)
ORIENTATIONS = {  # unit vectors of increasing column and row index
    "supine": [(1, 0, 0), (0, 1, 0)],
    "prone": [(-1, 0, 0), (0, -1, 0)],
    "mirrored": [(-1, 0, 0), (0, 1, 0)],
    "decubitus": [(0, 1, 0), (-1, 0, 0)],
    "other-decubitus": [(0, -1, 0), (1, 0, 0)],
    "transposed": [(0, 1, 0), (1, 0, 0)],
    "askew": [(COS, SIN, 0), (-SIN, COS, 0)],
    "nodding": [(1, 0, 0), (0, COS, SIN)],
}
SPECS = {
    "smaller": {"size": (8, 32, 24)},
    "halved": {"size": (8, 32, 24), "resolution": "half"},
    "larger": {"size": (32, 96, 80)},
}
FLOOR_MM = -500.0  # below every coordinate
OF_ONE_HU = 0.1


def write(folder, orientation, axis, feet_first):
    """Write a series whose values are the patient's x, y or z, in tenths of a millimetre."""
    along_row, along_column = (np.array(vector, float) for vector in orientation)
    normal = np.cross(along_row, along_column) * (-1 if feet_first else 1)
    rows, columns = np.mgrid[:ROWS, :COLUMNS][..., None]
    in_plane = columns * COLUMN_MM * along_row + rows * ROW_MM * along_column
    for number in range(COUNT):
        first = ORIGIN + number * STEP_MM * normal
        values = ((first + in_plane)[..., axis] - FLOOR_MM) / OF_ONE_HU
        ds = slice_dataset(
            np.rint(values).astype(np.int16),
            first,
            ImageOrientationPatient=[round(float(v), 12) for v in (*along_row, *along_column)],
            PixelSpacing=[ROW_MM, COLUMN_MM],
            InstanceNumber=number + 1,
        )
        save(ds, folder / f"{number}.dcm")
    return only(folder)


@pytest.mark.parametrize(
    ("name", "orientation", "feet_first"),
    [
        *(("smaller", orientation, False) for orientation in ORIENTATIONS),
        *(("smaller", orientation, True) for orientation in ("supine", "decubitus", "nodding")),
        *((name, "nodding", True) for name in ("halved", "larger")),
    ],
)
def test_a_voxel_shows_what_lies_at_its_place(tmp_path, name, orientation, feet_first):
    window = {"window_center_hu": 5000, "window_width_hu": 10000, "depth_snap": 0}
    spec = Preprocessing(**SPECS[name], **window)
    span = (2, 11)
    indices = needed_slices(spec, COUNT, span).tolist()
    for axis in range(3):
        series = write(tmp_path / str(axis), ORIENTATIONS[orientation], axis, feet_first)
        needed = Slices(series, spec).stored(indices)
        shown = preprocess_slices(spec, COUNT, span, series.matrix, needed)[0]
        grid = grid_of(series, spec, span)
        voxels = np.stack(np.meshgrid(*map(np.arange, spec.size), indexing="ij"), -1)
        steps = voxels * np.array(grid.spacing_mm)
        places = np.array(grid.origin_mm) + steps @ np.array(grid.direction).T
        found_mm = shown * 10000 * OF_ONE_HU + FLOOR_MM
        inside = np.s_[2:-2, 3:-3, 3:-3]  # at the edges neighbours are missing
        atol = 1 if name == "halved" else 0.2  # its low-pass is rounded
        np.testing.assert_allclose(found_mm[inside], places[inside][..., axis], atol=atol)
        np.testing.assert_allclose(grid.at(2, 5, 7), places[2, 5, 7])


def test_a_series_without_a_place_has_no_grid(tmp_path):
    series = write(tmp_path, ORIENTATIONS["supine"], 0, False)
    assert grid_of(replace(series, stack=None), Preprocessing(), (0, COUNT)) is None
