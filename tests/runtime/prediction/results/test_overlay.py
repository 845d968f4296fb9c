from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from darnet_trt.errors import Finding
from darnet_trt.evaluation.evidence import grown
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.overlay import (
    GAP,
    HEADER,
    TILE,
    _position,
    draw_overlay,
    telling_slices,
    with_overlay,
)
from darnet_trt.runtime.prediction.results.result import (
    PHANTOMS_ONLY,
    SHORTCUT,
    UNLIKE,
    Evidence,
    SlicesUsed,
)
from tests.runtime.prediction.results.test_result import SERIES, result


def evidence(value: float = 3.0, *, oriented: bool = True) -> Evidence:
    """Grey everywhere; the map speaks for "normal" in the patient's left half of the top third."""
    cam = np.full((2, 6, 4, 4), -1.0, np.float32)
    cam[1, 4:, :, 2:] = value
    return Evidence(np.full((48, 64, 64), 0.5, np.float32), cam, oriented)


def tile(page: Image.Image, place: int = 0) -> np.ndarray:
    left = GAP + place * (TILE + GAP)
    return np.asarray(page)[HEADER : HEADER + TILE, left : left + TILE].astype(int)


def test_colour_lies_where_the_evidence_is_and_nowhere_else():
    page = draw_overlay(result(series=None), evidence())
    hottest = max((tile(page, place) for place in range(4)), key=lambda t: np.ptp(t, -1).sum())
    colour = np.ptp(hottest, axis=-1)
    assert (colour[60:200, 24:80] == 0).all()
    assert (colour[60:200, 150:200] > 20).all()
    assert abs(hottest[60:200, 24:80].mean() - 127.5) < 1


def test_a_hot_cell_is_laid_over_the_voxels_that_it_reads():
    from torch import autograd, manual_seed, rand

    from darnet_trt.training.model import DARNet, Network

    manual_seed(0)
    network = DARNet(Network(width=4, input_size=(40, 161, 144), attention="none")).eval()
    scan = rand(1, 1, 40, 161, 144, requires_grad=True)
    cam = network(scan)[1][0, 0]
    cell = (2, 5, 4)
    read = autograd.grad(cam[cell], scan)[0][0, 0].square().numpy()
    one = np.zeros(cam.shape, np.float32)
    one[cell] = 1
    drawn = grown(one, read.shape)
    for axis, stride in enumerate((8, 16, 16)):
        places = np.arange(read.shape[axis])
        others = tuple({0, 1, 2} - {axis})
        centre = np.average(places, weights=read.sum(others))
        assert abs(np.average(places, weights=drawn.sum(others)) - centre) < stride / 5


def test_a_hot_cell_is_drawn_in_its_place():
    cam = np.zeros((2, 3, 6, 6), np.float32)
    cam[1, 1, 2, 4] = 5  # slice 8, row 32, column 64 of the input: right of the middle, in front
    grey = Evidence(np.full((24, 96, 96), 0.5, np.float32), cam, oriented=False)
    assert telling_slices(grown(cam[1], (24, 96, 96)), 1) == [8]
    page = draw_overlay(result(series=None), grey)
    first_row = np.asarray(page)[HEADER : HEADER + TILE - 30, : 4 * (TILE + GAP)].astype(int)
    hottest = first_row[..., :2].sum(-1).argmax()
    row, column = np.unravel_index(hottest, first_row.shape[:2])
    assert abs(row - 32.5 / 96 * TILE) < 4
    assert abs(column % (TILE + GAP) - GAP - 64.5 / 96 * TILE) < 4


@settings(max_examples=30)
@given(st.tuples(*[st.integers(1, 100)] * 3), st.integers(0, 7))
def test_every_voxel_is_a_mixture_of_cells_up_to_the_border(shape, halvings):
    """At every size of the input and of the map; the paper's is 64×224×224 and 8×14×14."""
    cells = tuple(-(-n // 2**halvings) for n in shape)
    assert np.allclose(grown(np.full(cells, 3, np.float32), shape), 3)
    for axis, (n, count) in enumerate(zip(shape, cells, strict=True)):
        ramp = np.arange(count, dtype=np.float32)
        one = np.moveaxis(grown(along(axis, ramp), (*shape[:axis], n, *shape[axis + 1 :])), axis, 0)
        line = one.reshape(n, -1)[:, 0]
        assert (np.diff(line) >= 0).all()
        assert (line[0], line[-1]) == (0, count - 1)


def along(axis: int, values: np.ndarray) -> np.ndarray:
    """A map that differs along one axis alone."""
    return values.reshape([-1 if of == axis else 1 for of in range(3)])


def test_the_topmost_slices_are_tinted_at_the_papers_size():
    cam = np.zeros((8, 14, 14), np.float32)
    cam[7, 13, 13] = 2
    evidence_at = grown(cam, (64, 224, 224))
    assert (evidence_at[56:, 208:, 208:] == 2).all()


def test_evidence_against_the_class_is_not_drawn():
    drawn = tile(draw_overlay(result(series=None), evidence(-0.5)))
    assert (np.ptp(drawn, axis=-1)[40:240, 40:240] == 0).all()


def test_sides_are_named_only_where_the_file_says_them():
    named = tile(draw_overlay(result(series=None), evidence()))
    unnamed = tile(draw_overlay(result(series=None), evidence(oriented=False)))
    letters = np.abs(named - unnamed).max(-1) > 0
    assert letters[:, :24].any()
    assert letters[:, -24:].any()
    assert not letters[:, 30:-30].any()


@pytest.mark.parametrize("code", ["mirrored", "turned-round"])
def test_sides_are_not_named_where_the_pixels_contradict_them(code):
    doubted = result(series=None).model_copy(update={"warnings": (Finding(code, "swapped"),)})
    unnamed = draw_overlay(result(series=None), evidence(oriented=False))
    assert (tile(draw_overlay(doubted, evidence())) == tile(unnamed)).all()


def test_places_are_those_of_the_slices_that_the_input_covers():
    """Of 100 slices 4 mm apart the input of 48 covers the upper 24."""
    sampled = SlicesUsed(
        indices=(76, 99), positions_mm=(), sop_uids=(), lungs=None, covered=(76, 99),
        left_out=0.76, left_out_mm=304.0,
    )  # fmt: skip
    spacing = (4.0, 1.0, 1.0)
    used = SERIES.model_copy(update={"slices": 100, "spacing_mm": spacing, "sampled": sampled})
    found = result(series=used)
    assert [_position(found, index, 48) for index in (0, 24, 47)] == [
        "+304 mm",
        "+351 mm",
        "+396 mm",
    ]


def test_slices_keep_the_patients_proportions():
    used = SERIES.model_copy(update={"matrix": (256, 512), "spacing_mm": (4.0, 1.0, 1.0)})
    page = draw_overlay(result(series=used), evidence(-0.5))
    middle = tile(page)[:, TILE // 2].mean(-1)
    assert abs((np.abs(middle - 127.5) < 2).sum() - TILE / 2) <= 2


def test_the_heading_says_undecided_where_the_result_does():
    def heading(covid: float) -> np.ndarray:
        found = result(probabilities={"covid-19": covid, "normal": 1 - covid}, series=None)
        return np.asarray(draw_overlay(found, evidence()))[:44].astype(int)

    ink = [np.flatnonzero((heading(covid) > 128).all(-1).any(0)) for covid in (0.25, 0.49)]
    assert ink[0].max() < 220, "normal 75.0 %"
    assert ink[1].max() > 400, "undecided: normal 51.0 %, covid-19 49.0 %"


@pytest.mark.parametrize("warning", [PHANTOMS_ONLY, Finding(SHORTCUT, "matrix")])
def test_the_heading_says_that_the_network_saw_only_phantoms_or_a_leaky_cohort(warning):
    found = result(series=None)
    warned = found.model_copy(update={"warnings": (*found.warnings, warning)})
    plain, marked = (np.asarray(draw_overlay(r, evidence()))[:44] for r in (found, warned))
    assert (marked > 128).sum() > 2 * (plain > 128).sum()


def test_the_heading_of_a_scan_unlike_the_training_scans_names_no_class():
    def page(covid: float) -> np.ndarray:
        found = result(probabilities={"covid-19": covid, "normal": 1 - covid}, series=None)
        far = found.model_copy(update={"warnings": (Finding(UNLIKE, "far"),)})
        return np.asarray(draw_overlay(far, evidence()))

    one, other = page(0.9), page(0.1)
    assert (one[:44] == other[:44]).all()
    assert (one[44:64] != other[44:64]).any()


def test_the_png_is_whole_and_named_by_its_result(tmp_path):
    with ResultFolder(tmp_path) as folder:
        drawn = with_overlay(result(), evidence(), folder)
        with Image.open(tmp_path / drawn.overlay) as page:
            page.verify()
        folder.add(drawn)
        assert {file.name for file in tmp_path.glob("[!.]*")} == {"results.jsonl", drawn.overlay}
    assert drawn.warnings == result().warnings


def test_a_page_that_cannot_be_drawn_is_a_warning_of_its_scan(tmp_path):
    one_class = replace(evidence(), cam=evidence().cam[:1])  # the second is the predicted one
    with ResultFolder(tmp_path) as folder:
        drawn = with_overlay(result(), one_class, folder)
    assert drawn.overlay is None
    assert "no overlay" in drawn.warnings[-1]
    assert not list(tmp_path.iterdir())


def test_the_caption_tells_patients_apart():
    one, two = (draw_overlay(result(f"/cohort/{p}/1"), evidence()) for p in ("P0001", "P0002"))
    assert one != two


@pytest.mark.parametrize("odd", ["\n", "\r\n", "\t", "\x07", "\udcff"])
def test_any_name_can_be_captioned(odd):
    def page(gap: str) -> Image.Image:
        used = SERIES.model_copy(update={"description": f"soft{gap}tissue"})
        return draw_overlay(result(f"/scans/two{gap}words", series=used), evidence())

    assert page(odd) == page(" ")


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
