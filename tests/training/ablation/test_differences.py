"""Pairs of variants, on answers whose differences are known."""

import math

import numpy as np
import pytest

from darnet_trt.evaluation.metrics import evaluate
from darnet_trt.scan.cohorts import PAPER_CLASSES
from darnet_trt.training.ablation.differences import PAIRS, differences, winners
from darnet_trt.training.ablation.paper import MEASURES, VARIANTS
from darnet_trt.training.ablation.scored import Scored, Training
from darnet_trt.training.ablation.scores import Scans, score
from darnet_trt.training.ablation.tables import differences_table
from tests.short import SHORT


def answers(signal, *, folds=3, seeds=2, patients=30, noise=0.0, side="held-out", draw=0):
    """What networks answer: `signal` of a variant is how far it lifts the right class's logit."""
    rng = np.random.default_rng(draw)
    found = []
    for fold in range(folds):
        scans = [f"{fold}-{i}" for i in range(patients)] if side == "held-out" else range(patients)
        labels = np.arange(patients) % 3
        hard = rng.normal(size=(patients, 3))  # as hard for each network
        for seed in range(seeds):
            for variant in VARIANTS:
                lift = signal[variant] + rng.normal() * noise
                logits = hard + lift * np.eye(3)[labels] + 0.3 * rng.normal(size=(patients, 3))
                found.append(
                    Scored(
                        Training(variant, fold, seed),
                        side,
                        tuple(map(str, scans)),
                        tuple(f"p{scan}" for scan in scans),
                        labels,
                        logits.astype(np.float32),
                        1.0,
                    )
                )
    return found


ALIKE = dict.fromkeys(VARIANTS, 1.0)


def test_a_difference_that_is_there_has_a_winner_and_the_right_sign():
    found = differences(Scans(answers(ALIKE | {"both": 4.0})), draws=100)
    for d in found:
        if d.measure == "accuracy":
            assert d.winner == ("both" if d.second == "both" else None)
            low, high = d.over_patients
            assert low < d.value < high
            assert d.corrected[0] < low
            assert d.corrected[1] > high
    assert any("Ours is better than ResNet18 by" in line for line in winners(found))


def test_a_value_is_the_mean_of_the_networks_own_measures():
    scored = answers(ALIKE | {"none": 0.5})
    (found,) = (
        d
        for d in differences(Scans(scored), draws=20)
        if (d.measure, d.first, d.second) == ("auc", "none", "depth")
    )
    mean = {
        variant: np.mean(
            [
                evaluate(s.logits, s.labels, PAPER_CLASSES)["auc"]
                for s in scored
                if s.training.attention == variant
            ]
        )
        for variant in ("none", "depth")
    }
    assert found.value == pytest.approx(mean["depth"] - mean["none"])


def test_one_seed_names_no_winner():
    signal = ALIKE | {"both": 4.0}
    found = differences(Scans(answers(signal, seeds=1)), draws=100)
    apart = next(d for d in found if (d.measure, d.first, d.second) == ("accuracy", "none", "both"))
    assert apart.corrected[0] > 0
    assert apart.winner is None
    assert math.isnan(apart.over_seeds)
    assert "seed" in winners(found)[0]


def test_seeds_that_disagree_name_no_winner():
    """A difference as large as that between two seeds of one network says nothing."""
    scored = answers(ALIKE, folds=1, seeds=2, patients=120)
    lucky = next(s for s in scored if s.training == Training("both", 0, 0))
    lucky.logits[:] += 5 * np.eye(3, dtype=np.float32)[lucky.labels]
    found = differences(Scans(scored), draws=100)
    apart = next(d for d in found if (d.measure, d.first, d.second) == ("accuracy", "none", "both"))
    assert apart.over_patients[0] > 0
    assert apart.winner is None
    assert winners(found) == ["no winner: no interval leaves zero out"]


def test_ends_stay_where_differences_can_be():
    scored = answers(ALIKE | {"both": 8.0}, folds=2, noise=2.0, patients=9)
    found = differences(Scans(scored), draws=50)
    ends = np.array([end for d in found for end in (*d.over_patients, *d.corrected)])
    assert np.nanmin(ends) == -1
    assert np.nanmax(ends) == 1


def test_one_positive_patient_shows_no_spread_and_names_no_winner():
    """Each draw with that patient has the same sensitivity."""
    scored = answers(ALIKE, folds=2, patients=9)
    for one in scored:
        one.labels[:] = 1 + np.arange(9) % 2
        one.labels[0] = int(one.training.fold == 1)
        right = one.training.attention == "both"
        one.logits[0] = [9, 0, 0] if right else [0, 0, 9]
    found = differences(Scans(scored), draws=50)
    for d in found:
        if (d.measure, d.second) == ("sensitivity", "both"):
            assert d.value == 1
            assert d.winner is None
            assert np.isnan([*d.over_patients, *d.corrected]).all()
    table = differences_table(found)
    assert any(line.startswith("-: no interval") for line in table.notes)


@pytest.mark.parametrize("side", ["held-out", "test"])
def test_a_draw_counts_a_scan_as_often_as_it_was_drawn(side):
    scored = answers(ALIKE, folds=2, seeds=1, patients=9, side=side)
    scans = Scans(scored)
    drawn = np.array([0, 0, *range(len(scans.patients))])
    twice = scans.measures(drawn)["none"]["accuracy"][0, 0]
    first = scored[0]
    rows = [0, 0, *range(9)]
    assert twice == evaluate(first.logits[rows], first.labels[rows], PAPER_CLASSES)["accuracy"]


def test_the_measures_are_those_of_evaluate():
    scored = answers(ALIKE, folds=1, seeds=1)
    measured = Scans(scored).measures()
    for one in scored:
        expected = evaluate(one.logits, one.labels, PAPER_CLASSES)
        assert measured[one.training.attention] == {name: expected[name] for name in MEASURES}


def test_a_fold_without_a_positive_scan_is_left_out_of_the_measures_that_need_one():
    scored = answers(ALIKE, folds=2, seeds=1, patients=9)
    for one in scored:
        if one.training.fold == 0:
            one.labels[one.labels == 0] = 1
    of_none = Scans(scored).measures()["none"]
    assert np.isnan(of_none["auc"]).tolist() == [[True], [False]]
    assert score(of_none["auc"]).mean == of_none["auc"][1, 0]
    assert not np.isnan(of_none["accuracy"]).any()
    found = differences(Scans(scored), draws=50)
    assert len(found) == len(PAIRS) * len(MEASURES)


@pytest.mark.slow
def test_variants_that_do_not_differ_seldom_have_a_winner():
    """Each training is as good as chance makes it; the pairs of a measure share 5 %."""
    named = [
        any(
            d.winner
            for d in differences(Scans(answers(ALIKE, noise=0.4, folds=5, draw=draw)), draws=100)
            if d.measure == "accuracy"
        )
        for draw in range(10 if SHORT else 60)
    ]
    assert np.mean(named) <= 0.1
