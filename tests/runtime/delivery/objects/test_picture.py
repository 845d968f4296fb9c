"""The overlay as a Secondary Capture."""

from dataclasses import replace

import numpy as np

from darnet_trt.errors import Finding
from darnet_trt.runtime.prediction.results.overlay import draw_overlay
from tests.runtime.delivery.objects.answers import answer, read
from tests.scan.series_factory import chest, only, write_series


def test_it_shows_the_overlay(tmp_path):
    write_series(tmp_path, chest(8))
    answered = answer(only(tmp_path))
    ds = read(answered.made(("sc",))["sc"])
    page = draw_overlay(answered.result.model_copy(update={"scan": ""}), answered.evidence)
    np.testing.assert_array_equal(ds.pixel_array, np.asarray(page))
    assert ds.BurnedInAnnotation == "YES"
    assert "Research use only" in ds.SeriesDescription
    assert "Research use only" in ds.ImageComments
    assert ds.PatientOrientation == ["L", "P"]


def test_it_gives_no_sides_where_they_are_doubted(tmp_path):
    write_series(tmp_path, chest(8))
    answered = answer(only(tmp_path))
    doubts = (Finding("mirrored", "the heart is on the right"),)
    result = answered.result.model_copy(update={"warnings": doubts})
    assert not read(replace(answered, result=result).made(("sc",))["sc"]).PatientOrientation
