"""The intervals agree with reference computations and cover the truth as often as stated."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, norm
from sklearn.metrics import roc_auc_score

from darnet_trt.evaluation.intervals import (
    accuracy_interval,
    area_interval,
    largest_share,
    most_found,
    paired_areas,
    share_at_most,
    share_interval,
)


def scores(scans, rng, *, fall=0.0, ties=False):
    """Labels 0 to 2, and two engines' scores; 0 is ahead by 1.5, of the candidate by less."""
    labels = np.arange(scans) % 3
    reference = rng.normal(size=scans) + 1.5 * (labels == 0)
    candidate = reference + 0.3 * rng.normal(size=scans) - fall * (labels == 0)
    if ties:
        reference, candidate = reference.round(), candidate.round()
    return labels, reference, candidate


@pytest.mark.parametrize("ties", [False, True])
def test_areas_agree_with_scikit_learn(ties):
    labels, reference, candidate = scores(60, np.random.default_rng(1), ties=ties)
    before, after, _, _ = paired_areas(reference, candidate, labels, 0)
    assert before == pytest.approx(roc_auc_score(labels == 0, reference))
    assert after == pytest.approx(roc_auc_score(labels == 0, candidate))


def shares(scores, positives):
    """Compare each positive with each other scan, one pair at a time."""
    pairs = [
        [(high > low) + 0.5 * (high == low) for low in scores[~positives]]
        for high in scores[positives]
    ]
    return np.mean(pairs, 1), np.mean(pairs, 0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("scans", [6, 12, 45])
def test_the_interval_of_areas_is_delongs_beside_what_was_not_seen(scans, ties):
    labels, reference, candidate = scores(scans, np.random.default_rng(scans), fall=0.3, ties=ties)
    before, after = (shares(values, labels == 0) for values in (reference, candidate))
    variance = sum(
        np.cov(old, new) @ [1, -1] @ [1, -1] / len(old)
        for old, new in zip(before, after, strict=True)
    )
    half = np.hypot(norm.ppf(0.975) * np.sqrt(variance), share_at_most(0, scans // 3))
    first, second, lower, upper = paired_areas(reference, candidate, labels, 0)
    assert (first, second) == pytest.approx((before[0].mean(), after[0].mean()))
    assert lower == pytest.approx(max(-1, second - first - half))
    assert upper == pytest.approx(min(1, second - first + half))


def test_one_scan_of_a_side_shows_nearly_nothing():
    labels = np.array([0, 1, 2, 1])
    first, second, lower, upper = paired_areas(-labels, -labels, labels, 0)
    assert (first, second) == (1, 1)
    assert -lower == upper == share_at_most(0, 1) > 0.7


def test_the_interval_of_areas_covers_the_truth():
    rng = np.random.default_rng(3)
    # Both engines' scores are normal in each class: the areas are known.
    spread = np.sqrt(1 + 0.3**2)
    truth = norm.cdf((1.5 - 0.2) / (np.sqrt(2) * spread)) - norm.cdf(1.5 / np.sqrt(2))
    held = 0
    for _ in range(100):
        labels, reference, candidate = scores(90, rng, fall=0.2)
        _, _, lower, upper = paired_areas(reference, candidate, labels, 0)
        held += lower <= truth <= upper
    assert held / 100 > 0.95


@pytest.mark.parametrize(("covid", "others"), [(20, 20), (37, 37), (40, 80), (80, 40)])
def test_the_interval_of_areas_covers_the_truth_if_few_scans_sink(covid, others):
    """Of engines that order all right, the second sinks a share of the positives to the bottom."""
    reference = np.concatenate([10 + np.arange(covid) / 100, np.arange(others) / 100])
    labels = np.repeat([0, 1], [covid, others])
    lower = []
    for sunk in range(16):
        candidate = np.where(np.arange(len(labels)) < sunk, -1 - reference, reference)
        lower.append(paired_areas(reference, candidate, labels, 0)[2])
    for share in (0.01, 0.03, 0.05, 0.1, 0.15, 0.2):
        chances = binom.pmf(np.arange(len(lower)), covid, share)
        assert (chances * (np.array(lower) > -share)).sum() < 0.03


def test_without_a_change_the_smaller_side_sets_the_interval():
    labels, reference, _ = scores(60, np.random.default_rng(6))
    _, _, *interval = paired_areas(reference, reference, labels, 0)
    assert interval == [-share_at_most(0, 20), share_at_most(0, 20)]


def test_the_interval_is_the_same_each_time_and_for_each_order_of_the_scans():
    rng = np.random.default_rng(4)
    labels, reference, candidate = scores(45, rng, ties=True)
    first = paired_areas(reference, candidate, labels, 0)
    assert paired_areas(reference, candidate, labels, 0) == first
    order = rng.permutation(45)
    assert paired_areas(reference[order], candidate[order], labels[order], 0) == first


def score_test(lost, gained, scans, difference):
    """Tango's statistic, its constrained likelihood maximised by brute force."""

    def unlikelihood(loss):
        p = np.array([loss, loss + difference, 1 - 2 * loss - difference])
        counts = np.array([lost, gained, scans - lost - gained])
        return -float((counts * np.log(np.maximum(p, 1e-300))).sum())

    low, high = max(0.0, -difference), (1 - difference) / 2
    loss = minimize_scalar(
        unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = scans * (2 * loss + difference - difference**2)
    return (gained - lost - scans * difference) / np.sqrt(variance)


@pytest.mark.parametrize(
    ("lost", "gained", "scans"), [(12, 2, 50), (2, 12, 50), (1, 0, 120), (0, 1, 30), (3, 3, 20)]
)
def test_the_accuracy_interval_ends_where_the_score_test_rejects(lost, gained, scans):
    lower, upper = accuracy_interval(lost, gained, scans)
    assert lower < (gained - lost) / scans < upper
    assert score_test(lost, gained, scans, lower) == pytest.approx(1.96, abs=2e-3)
    assert score_test(lost, gained, scans, upper) == pytest.approx(-1.96, abs=2e-3)


def test_nothing_changed_on_few_scans_still_has_an_interval():
    z2 = norm.ppf(0.975) ** 2
    assert accuracy_interval(0, 0, 4) == pytest.approx((-z2 / (4 + z2), z2 / (4 + z2)), abs=1e-6)


@pytest.mark.parametrize("lost", [1, 4])
def test_everything_lost_ends_at_minus_one(lost):
    assert accuracy_interval(lost, 0, lost)[0] == pytest.approx(-1)


def test_the_accuracy_interval_covers_the_truth():
    rng = np.random.default_rng(5)
    lost, gained = 0.06, 0.03
    held = 0
    for _ in range(400):
        counts = rng.multinomial(120, [lost, gained, 1 - lost - gained])
        low, high = accuracy_interval(int(counts[0]), int(counts[1]), 120)
        held += low <= gained - lost <= high
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize(("found", "scans"), [(0, 4), (0, 120), (1, 120), (7, 20), (20, 20)])
def test_a_share_ends_where_its_score_test_rejects(found, scans):
    share = share_at_most(found, scans)
    if found == scans:
        assert share == pytest.approx(1)
    else:
        statistic = (found - scans * share) / np.sqrt(scans * share * (1 - share))
        assert statistic == pytest.approx(norm.ppf(0.025), abs=1e-5)


@pytest.mark.parametrize(("found", "scans"), [(0, 4), (0, 138), (1, 120), (7, 20), (20, 20)])
@pytest.mark.parametrize("chance", [0.015, 0.001])
def test_the_largest_share_is_the_exact_one(found, scans, chance):
    exact = binomtest(found, scans, alternative="less").proportion_ci(1 - chance, "exact").high
    assert largest_share(found, scans, chance) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("scans", [1, 137, 138, 234, 1000, 4000])
def test_as_many_may_be_found_as_a_worse_engine_rarely_shows(scans):
    most = most_found(scans, 0.03, 0.015)
    assert binom.cdf(most, scans, 0.03) <= 0.015 < binom.cdf(most + 1, scans, 0.03)


def test_the_area_has_a_width_where_every_scan_is_in_order():
    area, low, high = area_interval(np.arange(20.0), np.arange(20) >= 10)
    assert (area, high) == (1.0, 1.0)
    assert 0.7 < low < 0.9
    area, low, high = area_interval(np.arange(20.0), np.arange(20) < 10)
    assert (area, low) == (0.0, 0.0)
    assert 0.1 < high < 0.3


def test_the_interval_of_the_area_covers_the_truth():
    rng, inside, truth = np.random.default_rng(0), 0, 0.7602  # Φ(1/√2)
    positive = np.arange(60) < 20
    for _ in range(400):
        area, low, high = area_interval(rng.normal(positive, 1), positive)
        assert low <= area <= high
        inside += low <= truth <= high
    assert 0.92 < inside / 400 < 0.98


def test_the_interval_of_a_share():
    low, high = share_interval(8, 10)  # Wilson's, in any textbook
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert share_interval(10, 10)[1] == 1.0
