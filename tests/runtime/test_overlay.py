from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_result_folder import result

from darnet_trt.errors import OutputError
from darnet_trt.runtime.overlay import (
    GAP,
    HEADER,
    TILE,
    draw_overlay,
    telling_slices,
    write_overlay,
)
from darnet_trt.runtime.results import Evidence


def evidence(value: float = 3.0, *, oriented: bool = True) -> Evidence:
    """Grey everywhere; the map speaks for "normal" in the patient's left half of the top third."""
    cam = np.full((2, 6, 4, 4), -1.0, np.float32)
    cam[1, 4:, :, 2:] = value
    return Evidence(np.full((48, 64, 64), 0.5, np.float32), cam, oriented)


def first_tile(page: Image.Image) -> np.ndarray:
    return np.asarray(page)[HEADER : HEADER + TILE, GAP : GAP + TILE].astype(int)


def test_colour_lies_where_the_evidence_is_and_nowhere_else():
    tile = first_tile(draw_overlay(result(series=None), evidence()))
    colour = np.ptp(tile, axis=-1)
    assert (colour[60:200, 20:100] == 0).all()
    assert (colour[60:200, 190:260] > 20).all()
    assert abs(tile[60:200, 20:100].mean() - 127.5) < 1


def test_what_speaks_against_the_class_is_not_drawn():
    tile = first_tile(draw_overlay(result(series=None), evidence(-0.5)))
    assert (np.ptp(tile, axis=-1)[40:240, 40:240] == 0).all()


def test_sides_are_named_only_where_the_file_says_them():
    named = first_tile(draw_overlay(result(series=None), evidence()))
    unnamed = first_tile(draw_overlay(result(series=None), evidence(oriented=False)))
    letters = np.abs(named - unnamed).max(-1) > 0
    assert letters[:, :24].any()
    assert letters[:, -24:].any()
    assert not letters[:, 30:-30].any()


def test_proportions_are_the_patients():
    used = replace(result().series, matrix=(256, 512), spacing_mm=(4.0, 1.0, 1.0))
    page = draw_overlay(result(series=used), evidence(-0.5))
    middle = first_tile(page)[:, TILE // 2].mean(-1)
    assert abs((np.abs(middle - 127.5) < 2).sum() - TILE / 2) <= 2


def test_the_png_is_whole(tmp_path):
    write_overlay(result(), evidence(), tmp_path / "overlay.png")
    with Image.open(tmp_path / "overlay.png") as page:
        page.verify()
    assert [file.name for file in tmp_path.iterdir()] == ["overlay.png"]


def test_a_png_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_overlay(result(), evidence(), tmp_path / "nowhere" / "overlay.png")


@given(
    st.integers(1, 80), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([-9, 0, 9])
)
def test_telling_slices_are_distinct_in_order_and_hold_the_best(depth, count, seed, shift):
    map_ = np.random.default_rng(seed).normal(shift, 1, (depth, 2, 2)).astype(np.float32)
    chosen = telling_slices(map_, count)
    assert 1 <= len(chosen) <= count
    assert chosen == sorted(set(chosen))
    assert all(0 <= index < depth for index in chosen)
    mass = map_.clip(0).sum((1, 2))
    if mass.max() > 0:
        assert int(mass.argmax()) in chosen
