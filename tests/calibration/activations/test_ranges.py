"""Ranges agree with the methods' definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darnet_trt.calibration.activations.histogram import statistics_of
from darnet_trt.calibration.activations.ranges import METHODS, ranges_of
from darnet_trt.errors import UsageError

# Not a round number: 99.99 % of it would be an element, and rounding would decide which.
RNG = np.random.default_rng(0)
DISTRIBUTIONS = {
    "normal": RNG.standard_normal(100_003),
    "relu": np.maximum(RNG.standard_normal(100_003), 0),
    "laplace": RNG.laplace(size=100_003),
    "outlier": np.append(RNG.standard_normal(100_003), 60),
    "uniform": RNG.random(100_003),
    "negative": -RNG.gamma(1.0, 1.0, 100_003),
}
each_distribution = pytest.mark.parametrize(
    "elements", [v.astype(np.float32) for v in DISTRIBUTIONS.values()], ids=list(DISTRIBUTIONS)
)


def of(elements):
    return statistics_of(elements, float(elements.min()), float(elements.max()))


def range_by(method, elements, form="u8"):
    return ranges_of({"x": of(elements)}, method, form)["x"]


@each_distribution
def test_minmax_is_the_largest_magnitude(elements):
    found = range_by("minmax", elements)
    assert found.largest == np.abs(elements).max()
    assert found.signed == (elements.min() < 0)


@each_distribution
def test_percentile_agrees_with_numpy_within_a_bin(elements):
    exact = np.percentile(np.abs(elements), 99.99, method="inverted_cdf")
    assert 0 <= range_by("percentile", elements).largest - exact <= of(elements).edges[1]


def rounding_error(elements, largest, steps):
    scale = largest / steps
    stored = np.clip(np.rint(elements / scale), -steps if (elements < 0).any() else 0, steps)
    return np.square(elements - stored * scale).sum()


@each_distribution
@pytest.mark.parametrize(("form", "unsigned_steps"), [("u8", 255), ("s8", 127), ("plugin", 127)])
def test_mse_has_the_smallest_error_of_all_ranges(elements, form, unsigned_steps):
    elements = elements.astype(np.float64)
    steps = 127 if (elements < 0).any() else unsigned_steps
    best = min(
        rounding_error(elements, np.abs(elements).max() * part, steps)
        for part in np.linspace(0.02, 1, 333)
    )
    found = range_by("mse", elements.astype(np.float32), form).largest
    assert rounding_error(elements, found, steps) <= 1.02 * best


def divergence(counts, kept):
    """Kullback-Leibler, bin by bin as the definition goes."""
    reference = counts[:kept].copy()
    reference[-1] += counts[kept:].sum()
    groups = [[b for b in range(kept) if b * 128 // kept == g] for g in range(128)]
    coarse = np.zeros(kept)
    for group in groups:
        filled = [b for b in group if counts[b]]
        for b in filled:
            coarse[b] = counts[group].sum() / len(filled)
    p, q = (np.where(v > 0, v, 1e-4) for v in (reference, coarse))
    p, q = p / p.sum(), q / q.sum()
    return sum(a * np.log(a / b) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("name", ["normal", "laplace", "outlier"])
def test_kl_changes_the_distribution_least(name):
    elements = DISTRIBUTIONS[name].astype(np.float32)
    found = of(elements)
    counts = found.counts.astype(np.float64)
    counts[0] = counts[1]
    kept = int(np.searchsorted(found.edges, range_by("kl", elements).largest))
    others = [divergence(counts, bins) for bins in (128, 200, 411, 983, 1900, 3000, 4000)]
    assert divergence(counts, kept) <= min(others)


def test_kl_clips_an_outlier():
    alone = range_by("kl", DISTRIBUTIONS["normal"].astype(np.float32)).largest
    beside = range_by("kl", DISTRIBUTIONS["outlier"].astype(np.float32)).largest
    assert beside == pytest.approx(alone, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20)
@given(st.floats(2.0**-100, 2.0**100, width=32), st.booleans(), st.integers(1, 3000))
def test_a_constant_activation_is_never_clipped(method, value, negative, count):
    found = range_by(method, np.full(count, -value if negative else value, np.float32))
    assert found.largest == pytest.approx(value, rel=1e-6)
    assert found.signed == negative


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(-40, 40))
def test_a_range_is_within_the_values_and_scales_with_them(method, seed, power):
    elements = np.random.default_rng(seed).standard_normal(2000, np.float32)
    found = range_by(method, elements)
    assert 0 < found.largest <= np.abs(elements).max()
    scaled = range_by(method, elements * np.float32(2.0**power))
    assert scaled.largest == pytest.approx(found.largest * 2.0**power, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_without_the_largest_element(method):
    found = statistics_of(np.linspace(0, 1, 500, dtype=np.float32), 0.0, 1e6)
    assert 0 < ranges_of({"x": found}, method, "u8")["x"].largest <= 1e6


@pytest.mark.parametrize("method", METHODS)
def test_an_activation_without_a_scale_is_named(method):
    with pytest.raises(UsageError, match=r"^layer: is 0 in all calibration scans.*; use other"):
        ranges_of({"layer": of(np.zeros(3, np.float32))}, method, "u8")
    broken = statistics_of(np.ones(3, np.float32), 1.0, 1.0, not_finite=2)
    with pytest.raises(UsageError, match=r"^layer: 2 values are NaN or infinite"):
        ranges_of({"layer": broken}, method, "u8")
