"""Where the lungs lie in a scan, whatever else it shows."""

import numpy as np
import pytest

from benchmarks.scans.bodies import above, below, longer, repeated
from darnet_trt.phantom.synthesis import synthesize_scan
from darnet_trt.scan.plausibility.lungs import (
    LUNG_SHARE,
    coarse,
    coarse_spacing,
    find_lungs,
    lung_pixels,
    settle,
)


def find(volume, looked=None):
    looked = [] if looked is None else looked

    def look(indices):
        looked.extend(indices)
        return [coarse(volume.hu[i]) for i in indices]

    return find_lungs(len(volume.hu), look, coarse_spacing(volume.spacing_mm, volume.hu.shape[1:]))


@pytest.fixture(scope="module", params=[("covid-19", 3), ("common-pneumonia", 7), ("normal", 11)])
def scan(request):
    return synthesize_scan(*request.param, matrix=64, slices=(56, 60))


def ends(lungs, moved=0):
    return tuple(i - moved for i in (lungs.bottom, lungs.top, lungs.base, lungs.apex))


def test_the_lungs_of_a_phantom(scan):
    volume, lungs = scan.volume, find(scan.volume)
    place = [volume.origin_mm[2] + i * volume.spacing_mm[0] for i in (lungs.bottom, lungs.top)]
    # the deepest recess lies at 0, and the tips are not seen
    assert -10 < place[0] < 40
    assert -30 < place[1] - scan.anatomy.lung_height < 0
    assert lungs.whole
    assert lungs.base == lungs.bottom


@pytest.mark.parametrize("mm", [60, 400, 1400])
@pytest.mark.parametrize("kind", ["copies", "abdomen", "head", "both"])
def test_what_is_added_changes_nothing(scan, kind, mm):
    feet = {"copies": repeated, "abdomen": lambda v, m: below(v, m, 5), "head": None}.get(
        kind, lambda v, m: below(v, m, 6)
    )
    feet = None if feet is None else feet(scan.volume, mm)
    head = above(scan.volume, mm, 5) if kind in ("head", "both") else None
    found = find(longer(scan.volume, feet=feet, head=head))
    assert ends(found, 0 if feet is None else len(feet)) == ends(find(scan.volume))


def test_a_longer_scan_needs_hardly_more_looks():
    volume = synthesize_scan("normal", 4, matrix=64, slices=(280, 300)).volume
    chest, body = [], []
    find(volume, chest)
    find(longer(volume, feet=below(volume, 500, 1), head=above(volume, 370, 1)), body)
    assert len(set(body)) == len(body)
    assert len(body) <= len(chest) + 12
    assert len(chest) < 60


def test_one_lung_is_enough(scan):
    volume, alone = scan.volume, find(scan.volume)
    hu = volume.hu.copy()
    left = np.s_[:, :, hu.shape[2] // 2 :]
    hu[left][hu[left] < -300] = 40  # opaque, as after a pneumonectomy
    found = find(type(volume)(hu, volume.spacing_mm))
    assert abs(found.bottom - alone.bottom) * volume.spacing_mm[0] < 30
    assert abs(found.top - alone.top) * volume.spacing_mm[0] < 20


def test_a_consolidated_base_is_not_cut_off(scan):
    volume, alone = scan.volume, find(scan.volume)
    hu = volume.hu.copy()
    middle = (alone.bottom + 2 * alone.top) // 3
    low = hu[:middle]
    low[(low < -300) & (low > -960)] = 30
    found = find(type(volume)(hu, volume.spacing_mm))
    assert found.bottom >= middle
    assert found.base * volume.spacing_mm[0] <= alone.bottom * volume.spacing_mm[0] + 20


def in_lungs(hu):
    """Mark what is enclosed, slice by slice: lung, and not the trachea."""
    air = (hu > -970) & (hu < -400)
    h, w = np.mgrid[: hu.shape[1], : hu.shape[2]]
    return air & (np.hypot(h - hu.shape[1] / 2, w - hu.shape[2] / 2) < 0.48 * hu.shape[1])


@pytest.mark.parametrize("density", [-990, -975, -950, -450])
def test_lungs_as_thin_as_gas_or_nearly_as_dense_as_tissue(scan, density):
    volume, alone = scan.volume, find(scan.volume)
    noise = np.random.default_rng(1).normal(0, 12, volume.hu.shape)
    lung = in_lungs(volume.hu)
    hu = np.where(lung, density + noise, volume.hu).astype(np.int16)
    changed = type(volume)(hu, volume.spacing_mm)
    found = find(changed)
    assert np.abs(np.subtract(ends(found), ends(alone))).max() <= 3
    feet, head = below(changed, 700, 4), above(changed, 370, 4)
    assert ends(find(longer(changed, feet=feet, head=head)), len(feet)) == ends(found)


def test_noise_changes_no_end_by_more_than_two_slices(scan):
    volume, alone = scan.volume, find(scan.volume)
    noise = np.random.default_rng(1).normal(0, 100, volume.hu.shape)
    noisy = type(volume)((volume.hu + noise).astype(np.int16), volume.spacing_mm)
    found = find(noisy)
    assert np.abs(np.subtract(ends(found), ends(alone))).max() <= 2
    feet = below(noisy, 700, 4)
    assert ends(find(longer(noisy, feet=feet)), len(feet)) == ends(found)


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9])
def test_lungs_that_are_mostly_consolidated_are_covered(scan, share):
    volume, alone = scan.volume, find(scan.volume)
    rng = np.random.default_rng(2)
    blocks = rng.uniform(size=[-(-n // 8) for n in volume.hu.shape])
    opaque = blocks.repeat(8, 0).repeat(8, 1).repeat(8, 2)[tuple(map(slice, volume.hu.shape))]
    hu = np.where(in_lungs(volume.hu) & (opaque < share), 30, volume.hu).astype(np.int16)
    found = find(type(volume)(hu, volume.spacing_mm))
    margin = round(30 / volume.spacing_mm[0])
    assert found.base - margin <= alone.bottom
    assert found.apex + margin >= alone.top


def test_a_narrow_field_that_cuts_noisy_lungs(scan):
    volume = scan.volume
    size = volume.hu.shape[1]
    cut = np.s_[:, size // 5 : -size // 5, size // 5 : -size // 5]
    noise = np.random.default_rng(3).normal(0, 60, volume.hu.shape)
    hu = np.ascontiguousarray((volume.hu + noise)[cut].astype(np.int16))
    found, alone = find(type(volume)(hu, volume.spacing_mm)), find(volume)
    assert np.abs(np.subtract(ends(found), ends(alone))).max() <= 3


def test_a_scan_without_lungs(scan):
    hu = below(scan.volume, 600, 2)
    assert find(type(scan.volume)(hu, scan.volume.spacing_mm)) is None
    assert find(type(scan.volume)(hu[:1], scan.volume.spacing_mm)) is None


def slab(hu, value=-850):
    """Return a body with two lungs, on the coarse grid itself, with air around it."""
    grid = np.full((64, 64), -1000, np.float32)
    grid[12:52, 6:58] = 30
    grid[20:44, 12:28] = grid[20:44, 36:52] = value
    return grid


@pytest.mark.parametrize(
    ("change", "shows"),
    [
        (lambda g: None, True),
        (lambda g: g.__setitem__(np.s_[20:44, 36:52], 30), True),  # one lung
        (lambda g: g.__setitem__(np.s_[20:44], np.where(g[20:44] == -850, -1000, g[20:44])), False),
        (lambda g: g.__setitem__(np.s_[20:44], np.where(g[20:44] == -850, 30, g[20:44])), False),
        (lambda g: g.__setitem__(np.s_[:, :20], -850), True),  # the field of view cuts a lung
    ],
    ids=["two lungs", "one lung", "gas", "solid", "cut at a side"],
)
def test_what_counts_as_lung(change, shows):
    grid = slab(-850)
    change(grid)
    (seen,) = lung_pixels(grid[None])
    assert (seen.share(hollow=False) > LUNG_SHARE) == shows


def test_gas_in_loops_has_no_lung_at_its_blurred_edge():
    grid = np.full((64, 64), 30, np.float32)
    h, w = np.mgrid[:64, :64]
    for y, x in ((16, 16), (16, 46), (46, 16), (46, 46)):
        edge = np.clip(10 - np.hypot(h - y, w - x), 0, 1)
        grid += (-1000 - 30) * edge.astype(np.float32)
    assert lung_pixels(grid[None])[0].aerated == 0


def test_foam_below_the_body_is_outside():
    grid = slab(-850)
    grid[20:44] = np.where(grid[20:44] == -850, 30, grid[20:44])
    grid[52:60] = -880  # mattress, open at the sides
    grid[60] = -150
    assert lung_pixels(grid[None])[0].aerated == 0


def test_ends_found_at_a_glance_are_settled_by_a_look(scan):
    volume, exact = scan.volume, find(scan.volume)

    def look(indices):
        return [coarse(volume.hu[i]) for i in indices]

    for off in (-2, 0, 2):
        low, high = exact.bottom + off, exact.top + off
        rough = type(exact)(low, high, low, high, True, 1.0)
        assert ends(settle(len(volume.hu), rough, look)) == ends(exact)
