"""The Parametric Map, read back by highdicom and by plain pydicom."""

import numpy as np
import pytest

from tests.runtime.delivery.objects.answers import RESULT, answer, read
from tests.scan.series_factory import chest, only, write_series

FRAME = {"FrameOfReferenceUID": "1.2.3.9"}
ORIENTATIONS = [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, -1, 0], [0, 1, 0, -1, 0, 0]]


@pytest.fixture(params=ORIENTATIONS, ids=["supine", "prone", "decubitus"])
def answered(request, tmp_path):
    write_series(tmp_path, chest(8), ImageOrientationPatient=request.param, **FRAME)
    return answer(only(tmp_path))


def test_each_cell_lies_where_its_voxel_does(answered):
    from highdicom.pm import ParametricMap

    content = answered.made(("pm",))["pm"]
    ds, cam = read(content), answered.evidence.cam[0]
    image = ParametricMap.from_dataset(read(content))
    volume = image.get_volume(apply_real_world_transform=True)
    step = float(ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
                 .RealWorldValueSlope)  # fmt: skip
    grid = answered.source.grid
    for index in np.ndindex(cam.shape):
        d, h, w = index
        place = grid.at(8 * d, 16 * h, 16 * w)
        nearest = np.rint(volume.map_reference_to_indices(np.array([place])))[0].astype(int)
        there = volume.map_indices_to_reference(nearest[None])[0]
        np.testing.assert_allclose(there, place, atol=1e-3)
        assert volume.array[tuple(nearest)] == pytest.approx(cam[index], abs=step)


def test_the_highest_stored_value_is_the_peak(answered):
    """With attributes alone, as a viewer without highdicom reads it."""
    cam = np.zeros_like(answered.evidence.cam)
    cam[0, 1, 2, 1], cam[0, 0, 0, 0] = 3, -1
    ds = read(answered.with_cam(cam).made(("pm",))["pm"])
    frame, row, column = np.unravel_index(ds.pixel_array.argmax(), ds.pixel_array.shape)
    shared = ds.SharedFunctionalGroupsSequence[0]
    own = ds.PerFrameFunctionalGroupsSequence[frame]
    along = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down_mm, across_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    first = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
    place = first + column * across_mm * along[:3] + row * down_mm * along[3:]
    np.testing.assert_allclose(place, answered.source.grid.at(8, 32, 16), atol=1e-3)
    mapping = shared.RealWorldValueMappingSequence[0]
    values = ds.pixel_array * mapping.RealWorldValueSlope + mapping.RealWorldValueIntercept
    assert [values.max(), values.min()] == pytest.approx([3, -1])


def test_a_map_of_one_value_is_a_map(answered):
    content = answered.with_cam(np.full_like(answered.evidence.cam, 0.25)).made(("pm",))["pm"]
    mapping = read(content).SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (read(content).pixel_array == 0).all()
    assert mapping.RealWorldValueIntercept == 0.25


def test_it_says_what_it_is(answered):
    ds = read(answered.made(("pm",))["pm"])
    assert ds.ContentLabel == "HEATMAP"
    assert "Research use only" in ds.SeriesDescription
    assert "Research use only" in ds.ContentDescription
    assert ds.FrameOfReferenceUID == FRAME["FrameOfReferenceUID"]
    mapping = ds.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    code = mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("130402", "DCM")
    (series,) = ds.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == 8


def test_without_a_frame_of_reference_there_is_no_map(tmp_path):
    write_series(tmp_path, chest(8))
    assert list(answer(only(tmp_path), RESULT).made()) == ["sr", "sc"]
