"""An int8 engine passes if it decides like float32, and fails with a reason if not."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from darnet_trt.bundle.manifest import Decisions
from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.decisions.margins import MARGINS, SEARCHED
from darnet_trt.calibration.search.sensitivity import fewest_spared
from darnet_trt.errors import UsageError

LEAD = 3.0
"""Lead of the right class's logit: a sure decision."""


def right(labels):
    """Logits of an engine that is always right; no two scans have the same."""
    spread = np.linspace(0, 0.5, len(labels))[:, None]
    return ((LEAD + spread) * np.eye(3)[labels]).astype(np.float32)


def logits(*probabilities):
    return np.log(np.array(probabilities)).astype(np.float32)


def with_scan(values, scan, probabilities):
    changed = values.copy()
    changed[scan] = logits(probabilities)[0]
    return changed


def mixed(scans):
    return list(np.arange(scans) % 3)


def judge(reference, candidate, labels=None):
    return decide(reference, candidate, labels, "a test")


finite = st.floats(-50, 50, width=32)


@settings(max_examples=60)
@given(st.data())
def test_identical_outputs_always_pass(data):
    scans = data.draw(st.integers(1, 130))
    outputs = data.draw(arrays(np.float32, (scans, 3), elements=finite))
    labels = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=scans, max_size=scans))
    found = judge(outputs, outputs.copy(), labels)
    assert found.passed
    assert found.failures == ()
    assert (found.class_flips, found.agreement, found.max_probability_drift) == (0, 1, 0)


@pytest.mark.parametrize("scans", [2, 30, 120])
def test_the_order_of_the_scans_changes_nothing(scans):
    rng = np.random.default_rng(scans)
    labels = np.array(mixed(scans))
    reference = (rng.normal(size=(scans, 3)) + 2 * np.eye(3)[labels]).astype(np.float32)
    candidate = (reference + 0.3 * rng.normal(size=(scans, 3))).astype(np.float32)
    order = rng.permutation(scans)
    first = judge(reference, candidate, labels)
    assert judge(reference[order], candidate[order], labels[order]) == first
    assert judge(reference, candidate, labels) == first


def test_a_small_change_of_138_scans_passes_without_reserve():
    labels = mixed(138)
    reference = right(labels)
    found = judge(reference, reference * np.float32(1.02), labels)
    assert found.passed
    assert (found.reserves, found.notes) == ((), ())
    assert found.labelled == (46, 46, 46)
    assert found.auc.candidate == found.accuracy.candidate == 1
    assert found.accuracy.lower > -0.05


@pytest.mark.parametrize("scans", [4, 20, 110, 137])
def test_few_scans_pass_with_a_reserve(scans):
    reference = right(mixed(scans))
    found = judge(reference, reference, mixed(scans))
    assert found.passed
    for number in (f"{scans} scans", "138", f"{100 * found.flips_at_most:.1f} %"):
        assert number in found.reserves[0]


@pytest.mark.parametrize("labelled", [False, True])
def test_as_many_as_can_show_it_pass_without_reserve(labelled):
    reference = right(mixed(138))
    assert judge(reference, reference, mixed(138) if labelled else None).reserves == ()


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize(("covid", "others"), [(2, 118), (2, 498), (39, 200), (200, 39)])
def test_few_scans_of_one_side_pass_with_a_reserve(covid, others, labelled):
    labels = [0] * covid + [1, 2] * (others // 2) + [1] * (others % 2)
    found = judge(right(labels), right(labels), labels if labelled else None)
    assert found.passed
    (reserve,) = (line for line in found.reserves if "of each needed" in line)
    shares = [f"{100 * (1 - 0.015 ** (1 / side)):.1f} %" for side in (covid, others)]
    for fact in (f"{covid} scans", f"{others} others", "40 of each", *shares):
        assert fact in reserve
    assert ("float32 calls" in reserve) != labelled


def test_forty_of_each_side_are_enough():
    labels = [0] * 40 + [1, 2] * 49
    assert judge(right(labels), right(labels), labels).reserves == ()
    labels = [0] * 98 + [1, 2] * 20
    assert judge(right(labels), right(labels), labels).reserves == ()


def test_one_scan_is_judged_with_a_reserve_and_notes():
    found = judge(right([1]), right([1]), [1])
    assert found.passed
    assert "1 scan judged" in found.reserves[0]
    assert "98.5 %" in found.reserves[0]
    assert "0 scans labelled covid-19 and 1 other" in found.reserves[1]
    area, absent = found.notes
    assert "AUC" in area
    assert "covid-19 or normal" in absent


UNSURE, TURNED = (0.52, 0.47, 0.01), (0.49, 0.5, 0.01)
LOST_FOR_SURE = (0.001, 0.998, 0.001)


@pytest.mark.parametrize("scans", [4, 20, 120])
@pytest.mark.parametrize("labelled", [False, True])
def test_one_flip_of_an_unsure_scan_passes(scans, labelled):
    labels = mixed(scans)
    reference = with_scan(right(labels), 0, UNSURE)
    candidate = with_scan(right(labels), 0, TURNED)
    found = judge(reference, candidate, labels if labelled else None)
    assert found.passed
    assert (found.class_flips, found.sure_flips) == (1, 0)
    assert found.agreement == 1 - 1 / scans
    assert [f is not None for f in (found.labelled, found.auc, found.accuracy)] == [labelled] * 3


@pytest.mark.parametrize("scans", [20, 138, 203, 204, 500])
def test_one_scan_that_changes_class_needs_more_scans(scans):
    labels = mixed(scans)
    reference, candidate = right(labels), with_scan(right(labels), 0, LOST_FOR_SURE)
    found = judge(reference, candidate, labels)
    assert (found.class_flips, found.sure_flips, found.passed) == (1, 1, True)
    assert (found.reserves == ()) == (scans >= 204)
    if scans < 204:
        assert "204" in found.reserves[0]


@pytest.mark.parametrize(
    ("scans", "flips", "passed"),
    [(20, 2, False), (138, 2, False), (259, 2, False), (260, 2, True), (500, 5, True),
     (500, 6, False), (1000, 10, True), (1000, 11, False)],
)  # fmt: skip
def test_so_many_scans_may_change_class(scans, flips, passed):
    labels = mixed(scans)
    reference = right(labels)
    turned = np.arange(scans) < flips
    candidate = np.where(turned[:, None], np.roll(reference, 1, 1), reference)
    found = judge(reference, candidate, labels)
    assert found.passed == passed
    assert found.reserves == () or not passed
    if not passed:
        assert f"{flips} of {scans} scans changed class" in found.failures[0]


def test_the_searchs_choice_must_be_surer():
    for scans, flips, shipped in ((138, 0, False), (244, 0, True), (300, 1, False), (323, 1, True)):
        reference = right(mixed(scans))
        candidate = reference.copy()
        candidate[:flips] = candidate[:flips, ::-1] + np.float32([0, 20, 0])
        found = decide(reference, candidate, mixed(scans), "a test", SEARCHED)
        assert (found.passed and not found.reserves) == shipped
        assert found.passed == (flips == 0 or shipped)


def test_no_search_asks_more_often_than_its_limits_allow_for():
    ways_to_scale = 3  # of a plan's weights, before the bisection
    for most in range(20):

        def failures(layers, most=most):
            return () if len(layers) <= most else ("fails",)

        found = fewest_spared(range(20), failures, seconds=60, log=lambda line: None)
        looks = ways_to_scale + len(found.tried) - 1
        assert MARGINS.chance + looks * SEARCHED.chance <= 0.02


def test_many_flips_of_few_covid_scans_fail():
    labels = [0] * 40 + [1, 2] * 230
    reference = right(labels)
    candidate = reference.copy()
    candidate[:4] = np.roll(reference[:4], 1, 1)
    found = judge(reference, candidate, labels)
    assert "4 of 40 covid-19 scans changed class" in found.failures[0]
    assert "at most 1" in found.failures[0]


@pytest.mark.parametrize("kind", ["smooth", "catastrophic"])
@pytest.mark.parametrize("scans", [30, 140, 234, 300])
def test_more_scans_of_the_same_quality_never_fail_what_passed(scans, kind):
    """The same scans several times, in which as large a share changes class."""
    rng = np.random.default_rng(scans)
    labels = np.array(mixed(scans))
    for _ in range(20):
        reference = (rng.normal(size=(scans, 3)) + 3 * np.eye(3)[labels]).astype(np.float32)
        jumps = rng.random((scans, 1)) < rng.choice([0.002, 0.01])
        candidate = reference + 0.05 * rng.normal(size=(scans, 3)).astype(np.float32)
        if kind == "catastrophic":
            candidate = np.where(jumps, 20 * np.roll(reference, 1, 1), reference)
        once = judge(reference, candidate, labels)
        for times in (2, 5):
            more = judge(*(np.repeat(a, times, 0) for a in (reference, candidate, labels)))
            if once.passed and not once.reserves:
                assert more.passed
                assert not more.reserves


@pytest.mark.parametrize("flips", [0, 1])
def test_more_scans_that_keep_their_class_never_harm(flips):
    verdicts = []
    for scans in (10, 60, 137, 138, 203, 204, 400):
        reference = right(mixed(scans))
        candidate = reference.copy()
        candidate[:flips] = 10 * np.roll(reference[:flips], 1, 1)
        found = judge(reference, candidate, mixed(scans))
        assert found.passed
        verdicts.append(len(found.reserves))
    assert verdicts == sorted(verdicts, reverse=True)
    assert verdicts[-1] == 0


def test_probabilities_that_move_everywhere_fail_without_a_flip():
    reference = right(mixed(30))
    found = judge(reference, reference * np.float32(0.7))
    assert found.class_flips == 0
    (failure,) = found.failures
    assert f"{found.mean_probability_drift:.3g} on average" in failure
    assert "0.02" in failure


@pytest.mark.parametrize(("scans", "moved", "passed"), [(30, 1, True), (30, 2, False),
    (234, 1, True), (234, 2, False), (1000, 10, True), (1000, 11, False)])  # fmt: skip
def test_probabilities_that_move_far_are_counted_like_flips(scans, moved, passed):
    reference, candidate = right(mixed(scans)), right(mixed(scans))
    reference[:moved] = logits((0.9, 0.09, 0.01))
    candidate[:moved] = logits((0.7, 0.29, 0.01))
    found = judge(reference, candidate)
    assert found.class_flips == 0
    assert found.max_probability_drift == pytest.approx(0.2, abs=1e-3)
    assert found.passed == passed
    if not passed:
        (failure,) = found.failures
        assert "more than 0.15" in failure
        assert f"{moved} of {scans} scans" in failure


def test_a_scan_that_moves_far_needs_more_scans():
    reference, candidate = right(mixed(150)), right(mixed(150))
    reference[0], candidate[0] = logits((0.9, 0.09, 0.01), (0.7, 0.29, 0.01))
    (reserve,) = judge(reference, candidate).reserves
    for fact in ("1 scan", "0.15", "150", "204"):
        assert fact in reserve


def ranked(covid, others):
    """Logits of scans that are all called COVID-19, given their COVID-19 logits; and labels."""
    first = np.concatenate([covid, others])
    zero = np.zeros_like(first)
    labels = [0] * len(covid) + [1, 2] * (len(others) // 2)
    return np.stack([first, zero, zero], 1).astype(np.float32), labels


def test_a_worse_order_of_the_scans_fails_though_no_class_flips():
    # The other scans rise above half of the COVID-19 scans, by little.
    reference, labels = ranked(np.linspace(5.01, 5.4, 40), np.linspace(4.8, 5.0, 80))
    candidate, _ = ranked(np.linspace(5.01, 5.4, 40), np.linspace(5.0, 5.2, 80))
    found = judge(reference, candidate, labels)
    assert found.class_flips == 0
    assert found.max_probability_drift < 0.01
    assert found.auc.reference == 1
    (fell,) = found.failures
    assert f"AUC fell by {1 - found.auc.candidate:.3g}" in fell
    (may_fall,) = (line for line in found.reserves if "AUC" in line)
    assert f"AUC may fall by {-found.auc.lower:.3g}" in may_fall
    assert "0.1" in may_fall


def test_an_auc_that_holds_on_average_but_not_surely_is_a_reserve():
    # COVID-19 scans sink and rise in turn, across others: which of them are drawn decides.
    covid, others = np.linspace(5, 5.2, 40), np.linspace(4.6, 5.6, 40)
    reference, labels = ranked(covid, others)
    candidate, _ = ranked(covid + np.tile([-0.3, 0.3], 20), others)
    found = judge(reference, candidate, labels)
    assert abs(found.auc.reference - found.auc.candidate) < 0.005
    assert found.passed
    assert any("AUC may fall by" in line for line in found.reserves)


@pytest.mark.parametrize(("covid", "others"), [(40, 40), (40, 100), (2, 118), (2, 498)])
def test_an_engine_that_loses_every_tenth_covid_scan_is_hardly_ever_shipped(covid, others):
    labels = [0] * covid + [1, 2] * (others // 2)
    reference = right(labels)
    ships = 0.0
    for lost in range(covid + 1):
        candidate = reference.copy()
        candidate[:lost] = np.roll(reference[:lost], 1, 1)
        found = judge(reference, candidate, labels)
        ships += (found.passed and not found.reserves) * binom.pmf(lost, covid, 0.1)
    assert ships <= 0.015


@pytest.mark.parametrize(("covid", "others"), [(40, 40), (40, 80)])
def test_an_engine_that_sinks_every_tenth_covid_scan_hardly_ever_passes(covid, others):
    """Each sinks below all others; all keep their class, and probabilities move by little."""
    high = np.linspace(7.0, 8.0, covid)
    reference, labels = ranked(high, np.linspace(6.0, 6.8, others))
    passes = 0.0
    for sunk in range(6):
        sinking = np.where(np.arange(covid) < sunk, 5.0, high)
        candidate = reference.copy()
        candidate[:covid, 0] = sinking
        found = judge(reference, candidate, labels)
        assert found.class_flips == 0
        passes += found.passed * binom.pmf(sunk, covid, 0.1)
    assert 0 < passes <= 0.025


def test_an_auc_that_did_not_fall_on_few_scans_is_a_reserve():
    reference, labels = ranked(np.linspace(7, 8, 20), np.linspace(6, 6.8, 20))
    found = judge(reference, reference, labels)
    assert found.auc.candidate == found.auc.reference == 1
    assert found.auc.lower == pytest.approx(-0.161, abs=1e-3)
    assert found.passed
    assert any("AUC may fall by 0.161" in line for line in found.reserves)


def test_one_pair_that_changes_places_is_no_fall_on_few_scans():
    reference, labels = ranked(np.array([5.0]), np.array([4.99, 4.0]))
    candidate, _ = ranked(np.array([4.98]), np.array([4.99, 4.0]))
    found = judge(reference, candidate, labels)
    assert found.auc.candidate == 0.5
    assert not any("AUC" in f for f in found.failures)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_or_infinity_fails_and_fits_into_json(value):
    labels = mixed(20)
    candidate = right(labels)
    candidate[[3, 7], 1] = value
    found = judge(right(labels), candidate, labels)
    assert found.failures == ("2 of 20 scans gave NaN or infinity",)
    assert (found.class_flips, found.sure_flips, found.max_probability_drift) == (2, 2, 1)
    assert (found.labelled, found.auc, found.accuracy) == (None, None, None)
    assert Decisions.model_validate(json.loads(found.model_dump_json())) == found


@pytest.mark.parametrize("labels", [None, mixed(20)])
def test_an_engine_of_nothing_but_nan_tells_nothing_of_float32(labels):
    found = judge(right(mixed(20)), np.full((20, 3), np.nan, np.float32), labels)
    assert found.failures == ("20 of 20 scans gave NaN or infinity",)
    assert (found.reserves, found.notes) == ((), ())


def test_nan_of_the_reference_is_reported_as_its_own():
    reference = right(mixed(4))
    reference[0] = np.nan
    found = judge(reference, right(mixed(4)), mixed(4))
    (failure,) = found.failures
    assert "float32 engine gave NaN or infinity for 1 of 4 scans" in failure


@pytest.mark.parametrize(
    ("labels", "note"), [([0] * 6, "all scans are"), ([1, 2] * 3, "no scan is")]
)
def test_without_covid_or_the_rest_no_auc_is_judged(labels, note):
    found = judge(right(labels), right(labels), labels)
    assert found.passed
    assert found.auc is None
    assert found.accuracy.reference == 1
    assert any("AUC not judged" in n and f"{note} labelled covid-19" in n for n in found.notes)


def test_a_class_without_scans_is_noted():
    labels = [0, 1] * 60
    found = judge(right(labels), right(labels), labels)
    assert found.auc.reference == 1
    (note,) = found.notes
    assert "no scan is labelled normal" in note


def test_a_reference_that_gives_one_class_is_a_reserve():
    reference = right([2] * 150)
    found = judge(reference, reference)
    assert found.passed
    (reserve,) = found.reserves
    assert "all 150 scans the same class" in reserve


def test_a_reference_no_better_than_guessing_is_noted():
    labels = mixed(120)
    wrong = right([(label + 1) % 3 for label in labels])
    found = judge(wrong, wrong, labels)
    assert found.passed
    assert "no better than guessing" in found.notes[0]


def test_equal_logits_give_both_engines_an_auc_of_a_half():
    equal = np.zeros((120, 3), np.float32)
    found = judge(equal, equal, mixed(120))
    assert found.passed
    assert found.auc.reference == found.auc.candidate == 0.5


def test_scores_that_round_to_one_probability_keep_their_order():
    reference, labels = ranked(np.linspace(60, 61, 40), np.linspace(50, 51, 80))
    assert judge(reference, reference, labels).auc.reference == 1


def test_no_scans_is_an_error():
    with pytest.raises(UsageError, match=r"no scan .*; give more scans"):
        judge(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), [])
