"""One phantom: the same by seed, and like a chest."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.errors import UsageError
from darnet_trt.phantom import synthesize, synthesize_scan
from darnet_trt.phantom.body.anatomy import draw_anatomy
from darnet_trt.phantom.body.kinds import KINDS, draw_findings
from darnet_trt.phantom.body.vessels import draw_vessels, points_in_lung
from darnet_trt.phantom.scanner.acquisition import draw_acquisition
from darnet_trt.phantom.scanner.grid import Grid
from darnet_trt.phantom.scanner.render import LESION, SLAB_VOXELS, render
from darnet_trt.scan.cohorts import PAPER_CLASSES

SMALL = {"matrix": 48, "slices": (30, 34)}


def test_other_seed_and_other_visit_give_other_voxels():
    one = synthesize_scan("normal", 5, **SMALL)
    other = synthesize_scan("normal", 6, **SMALL)
    again = synthesize_scan("normal", 5, visit=1, **SMALL)
    assert other.anatomy != one.anatomy
    assert again.anatomy == one.anatomy
    assert again.acquisition != one.acquisition


@pytest.mark.parametrize("seed", range(2))
def test_kinds_differ_inside_the_lungs_only(seed):
    scans = {kind: synthesize_scan(kind, seed, **SMALL) for kind in KINDS}
    normal = scans["normal"]
    grid = Grid(normal.acquisition, 0, normal.acquisition.shape[0])
    outside = normal.anatomy.lung_distance(grid.x, grid.y, grid.z) < -grid.pixel / 2
    assert not (normal.regions == LESION).any()
    for kind, scan in scans.items():
        changed = scan.volume.hu != normal.volume.hu
        assert changed.any() == (kind != "normal")
        assert not changed[outside].any()
        # Outside the marked lesions only their soft edges differ.
        change = np.abs(scan.volume.hu - normal.volume.hu)
        lesion = scan.regions == LESION
        if kind != "normal":
            assert change[lesion].mean() > 10 * change[~lesion].mean()
        assert np.array_equal(scan.regions > 0, normal.regions > 0)


def test_slabs_do_not_show(monkeypatch):
    rng = np.random.default_rng
    anatomy = draw_anatomy(rng(1))
    acquisition = draw_acquisition(anatomy, rng(2), matrix=40, slices=(30, 30))
    findings = draw_findings("covid-19", anatomy, rng(3))
    whole = render(anatomy, findings, acquisition, rng(4), rng(5))
    assert whole[0].size < SLAB_VOXELS
    monkeypatch.setattr("darnet_trt.phantom.scanner.render.SLAB_VOXELS", 3 * 40 * 40)
    slabs = render(anatomy, findings, acquisition, rng(4), rng(5))
    assert np.array_equal(whole[0], slabs[0])
    assert np.array_equal(whole[1], slabs[1])


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), label=st.sampled_from(PAPER_CLASSES))
def test_looks_like_a_chest(seed, label):
    scan = synthesize_scan(label, seed, matrix=48, slices=(30, 34))
    hu, spacing = scan.volume.hu, scan.volume.spacing_mm
    assert hu.dtype == np.int16
    assert hu.min() >= -1024
    assert hu.max() <= 3071
    assert 220 <= scan.volume.extent_mm[0] <= 380
    anatomy, litres = scan.anatomy, float(np.prod(spacing)) / 1e6
    z = scan.acquisition.bottom_mm + np.arange(hu.shape[0]) * spacing[0]
    y, x = ((np.arange(48) - 23.5) * spacing[1] for _ in range(2))
    inside = anatomy.lung_distance(
        x[None, None, :].astype(np.float32),
        y[None, :, None].astype(np.float32),
        z[:, None, None].astype(np.float32),
    )
    assert 1.5 < np.count_nonzero(inside > 0) * litres < 8
    # Soft tissue and bone are there as well.
    assert np.mean((hu > -150) & (hu < 150)) > 0.1
    assert np.count_nonzero(hu > 250) > 100


def _burden(label, seed):
    """Diseased share of each lung: where a patch covers points spread over it."""
    rng = np.random.default_rng(seed)
    anatomy = draw_anatomy(rng)
    findings = draw_findings(label, anatomy, rng)
    shares = []
    for side in (-1, 1):
        points = points_in_lung(anatomy, rng, side, 500)
        covered = np.zeros(500, bool)
        for patch in (*findings.harmless, *findings.disease.patches):
            if max(patch.radii) < 12:
                continue  # harmless nodules and satellites
            offset = (points - np.array(patch.centre)) / np.array(patch.radii)
            covered |= (offset**2).sum(1) < 1
        shares.append(covered.mean())
    return shares


def test_typical_scans_have_the_findings_of_their_class():
    covid = np.array([_burden("covid-19", seed) for seed in range(12)])
    pneumonia = np.array([_burden("common-pneumonia", seed) for seed in range(12)])
    normal = np.array([_burden("normal", seed) for seed in range(12)])
    assert (covid > 0.02).all(), "COVID-19 is bilateral"
    assert (pneumonia.max(1) > 0.05).all()
    assert np.mean(pneumonia.min(1) < 0.02) > 0.7, "pneumonia is mostly of one lung"
    assert normal.max() < 0.05


def test_other_kinds_have_theirs():
    def burdens(kind):
        return np.array([_burden(kind, seed) for seed in range(12)])

    def patches(kind, seed):
        rng = np.random.default_rng(seed)
        return draw_findings(kind, draw_anatomy(rng), rng).disease.patches

    assert {len(patches("mild-covid-19", seed)) for seed in range(12)} == {1, 2, 3}
    assert (burdens("mild-covid-19") < 0.08).all()
    assert (burdens("one-sided-covid-19").min(1) < 0.01).all()  # a patch crosses the midline
    assert (burdens("one-sided-covid-19").max(1) > 0.02).all()
    assert (burdens("central-covid-19") > 0.02).all()
    assert (burdens("viral-pneumonia") > 0.01).all()
    assert all(patch.thins for patch in patches("emphysema", 0))
    assert all(max(patch.radii) <= 6 for patch in patches("small-nodules", 0))


def test_vessels_are_thicker_in_the_lesions_alone():
    rng = np.random.default_rng(2)
    anatomy = draw_anatomy(rng)
    vessels = draw_vessels(anatomy, rng)
    disease = draw_findings("vascular-covid-19", anatomy, rng).disease
    wider = disease.thicken(vessels).radius / vessels.radius
    assert set(wider.round(9)) == {1, round(disease.thicker, 9)}
    assert 0.02 < (wider > 1).mean() < 0.7
    middle = 0.5 * (vessels.start + vessels.end)[wider > 1]
    near = [
        ((middle - np.array(patch.centre)) ** 2).sum(1) < (1.5 * max(patch.radii)) ** 2
        for patch in disease.patches
    ]
    assert np.any(near, axis=0).all()


def test_severity_is_the_lesions_share_of_the_lungs():
    mild, typical, none = (
        synthesize_scan(kind, 3, **SMALL).severity
        for kind in ("mild-covid-19", "covid-19", "normal")
    )
    assert 0 == none < mild < typical < 0.6


def test_more_slices_and_pixels_show_the_same_person():
    coarse = synthesize("normal", 3, matrix=40, slices=(30, 30))
    fine = synthesize("normal", 3, matrix=80, slices=(60, 60))
    assert coarse.extent_mm == pytest.approx(fine.extent_mm, rel=1e-3)
    small = fine.hu.reshape(30, 2, 40, 2, 40, 2).astype(float).mean((1, 3, 5))
    correlation = np.corrcoef(small.ravel(), coarse.hu.astype(float).ravel())[0, 1]
    assert correlation > 0.97


def test_unknown_label_is_refused():
    with pytest.raises(UsageError, match="'flu'"):
        synthesize("flu", 0)
