"""Scans whose features or textures lie far from those of the training scans are flagged."""

from io import BytesIO

import numpy as np
import pytest

from darnet_trt.evaluation.familiarity import (
    Familiarity,
    fit_familiarity,
    nearest,
    shrunk_covariance,
)
from darnet_trt.evaluation.texture import TEXTURES

MEANS = np.random.default_rng(9).normal(0, 3, (3, 512))


def scans(n, seed, *, off=0.0, rougher=0.0, width=40):
    """Features and textures of three classes, of unlike spreads, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    spreads = np.linspace(0.1, 2, width)
    features = MEANS[labels, :width] + rng.normal(0, 1, (n, width)) * spreads + off
    textures = rng.normal(-3, 1, (n, TEXTURES)) * np.linspace(0.05, 0.15, TEXTURES) + rougher
    return (features, textures), labels


def fitted(n=300, held_out=100, seed=0, width=40):
    held_out_scans, _ = scans(held_out, seed + 1, width=width)
    return fit_familiarity(*scans(n, seed, width=width), held_out_scans)


def test_the_distance_is_mahalanobis_to_the_nearest_class():
    precision = np.diag([4.0, 1.0]).astype(np.float32)
    means = np.array([[0, 0], [10, 0]], np.float32)
    found = nearest(np.array([[1, 2], [9, 0]]), means, precision)
    np.testing.assert_allclose(found, [4 + 4, 4])


def test_with_many_scans_it_is_that_of_the_true_covariance():
    (features, textures), labels = scans(30_000, 0)
    found = fit_familiarity((features, textures), labels, (features[:999], textures[:999]))
    spreads = np.linspace(0.1, 2, 40), np.linspace(0.05, 0.15, TEXTURES)
    truth = (features - MEANS[labels, :40]) / spreads[0], textures / spreads[1] + 3
    lengths = [np.square(part[:999]).sum(1) for part in truth]
    expected = np.maximum(*(length / length.mean() for length in lengths))
    np.testing.assert_allclose(
        found.distance(features[:999], textures[:999]), expected, rtol=0.05, atol=0.02
    )


def test_scans_like_the_held_out_ones_are_seldom_flagged():
    shares = []
    for seed in range(0, 80, 2):
        found = fitted(seed=seed)
        distances = found.distance(*scans(200, seed + 1000)[0])
        shares.append((distances > found.threshold).mean())
    assert np.mean(shares) < 0.05
    # With 95 % confidence at most 5 % of all such scans; 200 scatter by 1.5 %.
    assert np.mean(np.array(shares) > 0.08) <= 0.05


@pytest.mark.parametrize("n", [12, 60, 300])  # fewer scans than features, too
@pytest.mark.parametrize("elsewhere", [{"off": 4.0}, {"rougher": 1.0}])
def test_scans_from_elsewhere_are_flagged(n, elsewhere):
    found = fitted(n=n)
    assert (found.distance(*scans(50, 5, **elsewhere)[0]) > found.threshold).all()


@pytest.mark.parametrize(("n", "held_out"), [(60, 20), (300, 100)])
def test_textures_do_not_drown_in_many_features(n, held_out):
    found = fitted(n, held_out, width=512)
    rougher = scans(50, 5, rougher=1.0, width=512)[0]
    assert (found.distance(*rougher) > 2 * found.threshold).all()


@pytest.mark.parametrize(("held_out", "beyond"), [(1, 0), (58, 0), (92, 0), (93, 1), (200, 4)])
def test_the_threshold_is_a_tolerance_limit(held_out, beyond):
    """Wilks' limits: 93 is the smallest number of scans of which one may lie beyond."""
    found = fitted(held_out=held_out)
    assert (found.distance(*scans(held_out, 1)[0]) > found.threshold).sum() == beyond


def test_what_never_varies_does_not_matter():
    (features, textures), labels = scans(60, 0)
    still = np.zeros((60, 40)), np.full((60, TEXTURES), -7.0)
    assert not fit_familiarity(still, labels, still).distance(*still).any()
    for one in (features, still[1]), (still[0], textures):  # one of both still tells
        found = fit_familiarity(one, labels, one)
        np.testing.assert_allclose(found.distance(*one).mean(), 1, rtol=1e-3)
    some = features * (np.arange(40) > 5), textures * (np.arange(TEXTURES) > 5)
    assert np.isfinite(fit_familiarity(some, labels, some).distance(*some)).all()


@pytest.mark.parametrize("n", [5, 50, 5000])
def test_the_covariance_is_that_of_scikit_learn(n):
    covariance = pytest.importorskip("sklearn.covariance", reason="scikit-learn is not installed")
    x = np.random.default_rng(n).normal(size=(n, 20)) @ np.diag(np.linspace(0.1, 3, 20))
    expected, _ = covariance.ledoit_wolf(x, assume_centered=True)
    np.testing.assert_allclose(shrunk_covariance(x), expected, atol=1e-10)


def test_it_is_kept_in_a_file():
    given, file = fitted(), BytesIO()
    given.save(file)
    file.seek(0)
    found = Familiarity.unpacked(np.load(file))
    np.testing.assert_array_equal(found.means, given.means)
    np.testing.assert_array_equal(found.precision, given.precision)
    assert found.threshold == given.threshold
    found.check(3, 40)
    for classes, features in ((2, 40), (3, 39), (3, 40 + TEXTURES)):
        with pytest.raises(ValueError, match="another network"):
            found.check(classes, features)
