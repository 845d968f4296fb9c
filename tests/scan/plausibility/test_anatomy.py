"""What the pixels say about how a chest lies: warnings where a header is wrong, never otherwise."""

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import Finding
from darnet_trt.phantom import synthesize_scan
from darnet_trt.scan import find_studies
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.scan.loading.load import read_volume
from darnet_trt.scan.plausibility.anatomy import Turn, find_turn, judge_anatomy, turned
from darnet_trt.scan.plausibility.chest import aerated_lung

PHANTOMS = [(label, seed) for seed, label in enumerate(PAPER_CLASSES)]
REAL = ["chest-4mm-64px", "chest-8mm/sharp", "chest-8mm/soft"]
ORDERS = list(itertools.permutations(range(3)))
FLIPS = list(itertools.product((False, True), repeat=3))
CODES = dict(
    zip(
        FLIPS,
        [
            None,
            "mirrored",
            "back-to-front",
            "turned-round",
            "upside-down",
            "turned-round",
            "turned-round",
            "all-reversed",
        ],
        strict=True,
    )
)


def coarse(hu, spacing_mm):
    """Return the loader's grid, and its spacing."""
    step = max(1, min(hu.shape[1:]) // 64)
    grid = hu[:, step // 2 :: step, step // 2 :: step].astype(np.float32)
    return grid, (spacing_mm[0], spacing_mm[1] * step, spacing_mm[2] * step)


@cache
def phantom(label, seed):
    volume = synthesize_scan(label, (41, seed), matrix=64, slices=(32, 40)).volume
    return coarse(volume.hu, volume.spacing_mm)


@cache
def real(data_dir, name):
    (study,) = find_studies(data_dir / name)
    (series,) = study.series
    volume = read_volume(series)
    return coarse(volume.hu, volume.spacing_mm)


def lay(hu, spacing_mm, order, flips):
    """Return the grid in another order and direction of its axes."""
    axes = [axis for axis in range(3) if flips[axis]]
    grid = np.ascontiguousarray(np.flip(hu.transpose(order), axes))
    return grid, tuple(spacing_mm[axis] for axis in order)


def codes(hu, spacing_mm=None):
    return [finding.code for finding in judge_anatomy(hu, spacing_mm)]


def check_orientations(hu, spacing_mm, left_and_right=True, some=True):
    """Check that every orientation is named; left and right may stay open where they are not shown.

    With `some`, a fifth of those whose axes are exchanged.
    """
    for place, (order, flips) in enumerate(itertools.product(ORDERS, FLIPS)):
        if some and order != (0, 1, 2) and place % 5:
            continue
        grid, spacing = lay(hu, spacing_mm, order, flips)
        spacing = spacing if flips[0] else None  # it changes nothing
        turn = find_turn(grid, spacing)
        if order != (0, 1, 2):
            assert codes(grid, spacing) == ["axes-exchanged"], (order, flips)
            assert isinstance(turn, Finding), (order, flips)
            continue
        shown = flips if left_and_right else (*flips[:2], False)
        right = [CODES[shown]] if any(shown) else []
        assert codes(grid, spacing) == right, (order, flips)
        assert turn == Turn(*flips[:2]), (order, flips)


@pytest.mark.parametrize(("label", "seed"), PHANTOMS)
def test_a_phantom_in_48_orientations(label, seed):
    check_orientations(*phantom(label, seed), some=seed > 0)


def test_the_grey_of_pictures():
    """Bone ends at 150 HU, and grey has 256 steps."""
    hu, spacing = phantom(*PHANTOMS[0])
    grey = np.rint((hu.clip(-1350, 150) + 1350) / 1500 * 255)
    check_orientations((grey * (1500 / 255) - 1350).astype(np.float32), spacing)


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_a_patient_in_48_orientations(data_dir, name):
    """The heart of the second patient does not lie to the left, so nothing is said about it."""
    first = name == REAL[0]
    check_orientations(*real(data_dir, name), left_and_right=first, some=not first)


@pytest.mark.data
@pytest.mark.parametrize("flips", FLIPS)
def test_an_abdomen_says_nothing(data_dir, flips):
    hu, spacing = lay(*real(data_dir, "abdomen-j2k"), (0, 1, 2), flips)
    assert codes(hu, spacing) == []
    assert isinstance(find_turn(hu, spacing), Finding)


@pytest.mark.parametrize("hu", [np.full((30, 64, 64), -1000), np.full((30, 64, 64), 40)])
def test_no_lung_says_nothing(hu):
    grid = hu.astype(np.float32)
    assert codes(grid) == []
    refused = find_turn(grid, None)
    assert isinstance(refused, Finding)
    assert refused.code == "orientation-unknown"


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(2, 12), st.integers(2, 12)),
    values=st.lists(st.sampled_from([-2000, -1000, -850, -500, 40, 500]), min_size=1, max_size=4),
    seed=st.integers(0, 999),
)
def test_any_grid_has_an_answer(shape, values, seed):
    hu = np.random.default_rng(seed).choice(values, shape).astype(np.float32)
    assert len(judge_anatomy(hu, None)) <= 1
    assert isinstance(find_turn(hu, None), Turn | Finding)


def test_situs_inversus_is_named_and_not_turned():
    hu = phantom(*PHANTOMS[2])[0][:, :, ::-1]
    (warning,) = judge_anatomy(hu, None)
    assert warning.code == "mirrored"
    assert "situs inversus" in warning
    assert find_turn(hu, None) == Turn(False, False)


def prone(hu):
    """Put table and mattress on the other side of the body."""
    body = hu > -250
    front = int(np.flatnonzero(body.any((0, 2)))[0])
    table = np.full_like(hu, -1000)
    table[:, max(0, front - 4) : front] = -150
    return np.where(body | aerated_lung(hu), hu, table)


def rotated(degrees):
    def rotate(hu):
        angle = np.deg2rad(degrees)
        h, w = hu.shape[1:]
        y, x = np.mgrid[:h, :w] - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
        rows = np.rint(np.cos(angle) * y - np.sin(angle) * x + (h - 1) / 2).astype(int)
        columns = np.rint(np.sin(angle) * y + np.cos(angle) * x + (w - 1) / 2).astype(int)
        inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
        return np.where(inside, hu[:, rows.clip(0, h - 1), columns.clip(0, w - 1)], -1024)

    return rotate


def filled(side, height, value):
    """Fill one or both lungs from the base up to a share of their height."""

    def fill(hu):
        lung = aerated_lung(hu)
        d, _, w = np.indices(hu.shape)
        shows = np.flatnonzero(lung.any((1, 2)))
        middle = np.median(np.nonzero(lung)[2])
        where = lung & (d < shows[0] + height * len(shows))
        where &= {"left": w > middle, "right": w < middle, "both": w >= 0}[side]
        noise = np.random.default_rng(0).normal(0, 15, hu.shape)
        return np.where(where, value + noise, hu)

    return fill


def enhanced(hu):
    """Put contrast medium into heart and great vessels."""
    lung = aerated_lung(hu)
    slices, rows, columns = (np.percentile(places, [2, 98]) for places in np.nonzero(lung))
    d, h, w = np.indices(hu.shape)
    depth = (h - rows[0]) / np.ptp(rows)
    blood = (hu > -100) & (hu < 149) & (depth > 0.15) & (depth < 0.65)
    blood &= d > slices[0] + 0.25 * np.ptp(slices)
    blood &= np.abs(w - columns.mean()) < 0.15 * np.ptp(columns)
    return np.where(blood, hu + 350, hu)


def noisy(hu):
    return hu + np.random.default_rng(0).normal(0, 60, hu.shape)


def continued(slices):
    """Continue the scan below the lungs, through slices like its lowest without lung."""

    def add(hu):
        end = np.where((hu[:1] < -250) & aerated_lung(hu[:1]), 40, hu[:1])
        noise = np.random.default_rng(0).normal(0, 10, (slices, *hu.shape[1:]))
        return np.concatenate([end + noise, hu])

    return add


UNUSUAL = {
    "prone": prone,
    "turned by 10°": rotated(10),
    "turned by -15°": rotated(-15),
    "narrow field of view": lambda hu: hu[:, :, 9:-9],
    "off centre": lambda hu: hu[:, :, 10:],
    "cut off at both ends": lambda hu: hu[len(hu) // 5 : -len(hu) // 5],
    "cut off below": lambda hu: hu[len(hu) // 3 :],
    "cut off above": lambda hu: hu[: -len(hu) // 3],
    "contrast medium": enhanced,
    "noise": noisy,
    "padded": lambda hu: np.pad(hu, ((5, 5), (0, 0), (0, 0)), constant_values=-1024),
    "few slices": lambda hu: hu[::3],
    "abdomen below": continued(40),
    "both bases consolidated": filled("both", 0.35, -50),
    "fluid on the left": filled("left", 0.6, 12),
    "fluid on the right": filled("right", 0.6, 12),
    "left base collapsed": filled("left", 0.3, 40),
}


@pytest.mark.parametrize("what", UNUSUAL)
@pytest.mark.parametrize(("label", "seed"), PHANTOMS)
def test_no_alarm_where_a_chest_is_unusual(what, label, seed):
    hu = UNUSUAL[what](phantom(label, seed)[0]).astype(np.float32)
    assert codes(hu) == []
    assert not isinstance(turn := find_turn(hu, None), Turn) or turn == Turn(False, False)


@pytest.mark.data
@pytest.mark.parametrize("what", UNUSUAL)
@pytest.mark.parametrize("name", REAL)
def test_no_alarm_where_a_patient_is_unusual(data_dir, what, name):
    hu = UNUSUAL[what](real(data_dir, name)[0]).astype(np.float32)
    assert codes(hu) == []
    assert not isinstance(turn := find_turn(hu, None), Turn) or turn == Turn(False, False)


@pytest.mark.parametrize(
    "what", ["prone", "contrast medium", "noise", "abdomen below", "few slices"]
)
@pytest.mark.parametrize("flips", FLIPS)
def test_an_unusual_chest_is_turned_rightly(what, flips):
    hu = UNUSUAL[what](phantom(*PHANTOMS[0])[0]).astype(np.float32)
    grid, _ = lay(hu, (1, 1, 1), (0, 1, 2), flips)
    assert find_turn(grid, None) == Turn(*flips[:2])


@pytest.mark.parametrize("window", [(-1100, -100), (-1200, 0)])
@pytest.mark.parametrize(("label", "seed"), PHANTOMS)
def test_pictures_whose_muscle_is_as_bright_as_bone(window, label, seed):
    """The usual order of rows is kept, the other one is refused."""
    low, high = window
    hu = (phantom(label, seed)[0].clip(low, high) - low) / (high - low) * 1500 - 1350
    assert codes(hu) == []
    assert find_turn(hu, None) == Turn(False, False)
    assert find_turn(hu[::-1], None) == Turn(True, False)
    assert not isinstance(turn := find_turn(hu[:, ::-1], None), Turn) or turn.flip_h


@pytest.mark.parametrize(("side", "other"), [("left", "right"), ("right", "left")])
def test_one_lung(side, other):
    hu = filled(side, 1.1, 40)(phantom(*PHANTOMS[2])[0]).astype(np.float32)
    (warning,) = judge_anatomy(hu, None)
    assert warning.code == "one-lung"
    assert warning.endswith(f"on the {other}")
    assert isinstance(find_turn(hu, None), Finding)


def test_a_short_piece_says_nothing():
    upside_down = phantom(*PHANTOMS[0])[0][::-1]
    assert codes(upside_down, (6.0, 5.0, 5.0)) == ["upside-down"]
    assert codes(upside_down, (2.0, 5.0, 5.0)) == []


def test_the_warning_says_what_was_decided():
    kept, reversed_ = turned(Turn(False, False)), turned(Turn(True, True))
    assert kept.code == reversed_.code == "orientation-from-pixels"
    assert "from foot to head" in kept
    assert "from front to back" in kept
    assert "from head to foot" in reversed_
    assert "from back to front" in reversed_
