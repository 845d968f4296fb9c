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


@settings(max_examples=60, deadline=None)
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


def test_a_small_change_of_120_scans_passes_without_reserve():
    labels = mixed(120)
    reference = right(labels)
    found = judge(reference, reference * np.float32(1.02), labels)
    assert found.passed
    assert (found.reserves, found.notes) == ((), ())
    assert found.labelled == (40, 40, 40)
    assert found.auc.candidate == found.accuracy.candidate == 1
    assert found.accuracy.lower > -0.05


@pytest.mark.parametrize("scans", [4, 20, 109])
def test_few_scans_pass_with_a_reserve(scans):
    reference = right(mixed(scans))
    found = judge(reference, reference, mixed(scans))
    assert found.passed
    (reserve,) = found.reserves
    for number in (f"{scans} scans", "110", f"{100 * found.flips_at_most:.0f} %"):
        assert number in reserve


def test_as_many_as_can_show_it_pass_without_reserve():
    reference = right(mixed(110))
    assert judge(reference, reference).reserves == ()


def test_one_scan_is_judged_with_a_reserve_and_notes():
    found = judge(right([1]), right([1]), [1])
    assert found.passed
    (reserve,) = found.reserves
    assert "1 scan judged" in reserve
    assert "79 %" in reserve
    area, absent = found.notes
    assert "AUC" in area
    assert "covid-19 or normal" in absent


UNSURE, TURNED = (0.52, 0.47, 0.01), (0.49, 0.5, 0.01)
SURE, LOST = (0.57, 0.42, 0.01), (0.48, 0.51, 0.01)


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


@pytest.mark.parametrize(("scans", "passed"), [(4, False), (20, False), (99, False), (100, True)])
def test_one_of_a_hundred_sure_scans_may_change_class(scans, passed):
    reference = with_scan(right(mixed(scans)), 0, SURE)
    candidate = with_scan(right(mixed(scans)), 0, LOST)
    found = judge(reference, candidate)
    assert (found.class_flips, found.sure_flips) == (1, 1)
    assert found.passed == passed
    if not passed:
        assert any("led by 0.1 or more; none" in f for f in found.failures)


def test_two_unsure_flips_of_120_are_too_many():
    labels = mixed(120)
    reference, candidate = right(labels), right(labels)
    for scan in (0, 3):
        reference = with_scan(reference, scan, UNSURE)
        candidate = with_scan(candidate, scan, TURNED)
    found = judge(reference, candidate, labels)
    assert "2 of 120 scans changed class; at most 1" in found.failures[0]
    assert any("accuracy fell by 0.0167" in f for f in found.failures)
    assert any("accuracy may fall by" in f for f in found.failures)


def test_probabilities_that_move_everywhere_fail_without_a_flip():
    reference = right(mixed(30))
    found = judge(reference, reference * np.float32(0.7))
    assert found.class_flips == 0
    (failure,) = found.failures
    assert f"{found.mean_probability_drift:.3g} on average" in failure
    assert "0.02" in failure


def test_one_probability_that_moves_far_fails_without_a_flip():
    reference = with_scan(right(mixed(30)), 0, (0.9, 0.09, 0.01))
    candidate = with_scan(right(mixed(30)), 0, (0.7, 0.29, 0.01))
    found = judge(reference, candidate)
    (failure,) = found.failures
    assert "0.2;" in failure
    assert "0.15" in failure


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
    fell, may_fall = found.failures
    assert f"AUC fell by {1 - found.auc.candidate:.3g}" in fell
    assert f"AUC may fall by {-found.auc.lower:.3g}" in may_fall
    assert f"{found.auc.lower:.3g} to {found.auc.upper:.3g}" in may_fall
    assert "0.1" in may_fall


def test_an_auc_that_holds_on_average_but_not_surely_fails():
    # COVID-19 scans sink and rise in turn, across others: which of them are drawn decides.
    covid, others = np.linspace(5, 5.2, 40), np.linspace(4.6, 5.6, 40)
    reference, labels = ranked(covid, others)
    candidate, _ = ranked(covid + np.tile([-0.3, 0.3], 20), others)
    found = judge(reference, candidate, labels)
    assert abs(found.auc.reference - found.auc.candidate) < 0.005
    (failure,) = found.failures
    assert "AUC may fall by" in failure


@pytest.mark.parametrize(("covid", "others"), [(37, 37), (40, 80)])
def test_an_engine_that_loses_every_tenth_covid_scan_hardly_ever_passes(covid, others):
    """Each sinks below all others; all keep their class, and probabilities move by little."""
    high = np.linspace(7.0, 8.0, covid)
    reference, labels = ranked(high, np.linspace(6.0, 6.8, others + others % 2)[:others])
    labels = labels[: covid + others] + [2] * (covid + others - len(labels))
    passes = 0.0
    for sunk in range(6):
        sinking = np.where(np.arange(covid) < sunk, 5.0, high)
        candidate = reference.copy()
        candidate[:covid, 0] = sinking
        found = judge(reference, candidate, labels)
        assert found.class_flips == 0
        passes += found.passed * binom.pmf(sunk, covid, 0.1)
    assert 0 < passes <= 0.025


def test_an_auc_that_did_not_fall_on_few_scans_has_an_interval():
    reference, labels = ranked(np.linspace(7, 8, 20), np.linspace(6, 6.8, 20))
    found = judge(reference, reference, labels)
    assert found.auc.candidate == found.auc.reference == 1
    assert found.auc.lower == pytest.approx(-0.161, abs=1e-3)
    assert found.passed
    assert found.reserves
    for fact in ("AUC", "20 scans with and 20 without", "37"):
        assert fact in found.notes[0]


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
    reference = right([2] * 120)
    found = judge(reference, reference)
    assert found.passed
    assert len(found.reserves) == 1
    assert "all 120 scans the same class" in found.reserves[0]


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
