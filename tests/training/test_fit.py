"""The training loop: repeatable, and resumable without a trace."""

import csv

import numpy as np
import pytest
import torch

from darnet_trt.errors import UsageError
from darnet_trt.training.fit import fit
from darnet_trt.training.fitting.history import HISTORY
from darnet_trt.training.fitting.state import STATE
from darnet_trt.training.model import DARNet
from darnet_trt.training.outputs import predict
from darnet_trt.training.recipe import NO_AUGMENTATION, Augmentation, Recipe
from tests.training.tiny_network import TINY


def weights(model):
    return torch.cat([v.flatten().double() for v in model.state_dict().values()])


class Interruption(BaseException):
    pass


def stop_after(epoch):
    def report(result):
        if result.epoch == epoch:
            raise Interruption

    return report


RECIPE = Recipe(epochs=4, seed=3)


def test_same_seed_gives_the_same_weights(tiny_examples, tmp_path):
    one, again = (
        fit(TINY, tiny_examples[:9], tiny_examples[9:], RECIPE, tmp_path / name)
        for name in ("a", "b")
    )
    other = fit(TINY, tiny_examples[:9], (), Recipe(epochs=4, seed=4), tmp_path / "c")
    assert torch.equal(weights(one), weights(again))
    assert not torch.equal(weights(one), weights(other))
    assert not one.training


def test_resumed_run_ends_like_an_uninterrupted_one(tiny_examples, tmp_path):
    sides = tiny_examples[:9], tiny_examples[9:]
    whole = fit(TINY, *sides, RECIPE, tmp_path / "whole")
    with pytest.raises(Interruption):
        fit(TINY, *sides, RECIPE, tmp_path / "cut", report=stop_after(2))
    assert (tmp_path / "cut" / STATE).exists()
    seen = []
    resumed = fit(TINY, *sides, RECIPE, tmp_path / "cut", report=seen.append)
    assert torch.equal(weights(whole), weights(resumed))
    assert [e.epoch for e in seen] == [1, 2, 3, 4], "past epochs are told again"
    histories = [
        list(csv.DictReader((tmp_path / run / HISTORY).read_text().splitlines()))
        for run in ("whole", "cut")
    ]
    for row, other in zip(*histories, strict=True):
        assert {k: v for k, v in row.items() if k != "seconds"} == {
            k: v for k, v in other.items() if k != "seconds"
        }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 9}, "seed 0, not 9"),
        ({"epochs": 5}, "epochs 4, not 5"),
        ({"augmentation": Augmentation(flip=0)}, "augmentation"),
        ({"loading": 0, "learning_rate": 0.1}, "learning_rate 0.001, not 0.1"),
    ],
)
def test_state_of_another_run_is_refused(tiny_examples, tmp_path, change, named):
    with pytest.raises(Interruption):
        fit(TINY, tiny_examples, (), Recipe(epochs=4), tmp_path, report=stop_after(1))
    with pytest.raises(UsageError, match=named) as caught:
        fit(TINY, tiny_examples, (), Recipe(**({"epochs": 4} | change)), tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UsageError, match="other training scans"):
        fit(TINY, tiny_examples[:8], (), Recipe(epochs=4), tmp_path)


def test_learning_rate_falls_along_a_cosine_to_zero(tiny_examples, tmp_path):
    seen = []
    fit(TINY, tiny_examples, (), RECIPE, tmp_path, report=seen.append)
    rates = [e.learning_rate for e in seen]
    assert rates == sorted(rates, reverse=True)
    assert rates[1] == pytest.approx(0.5e-3)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_learns_its_training_scans_by_heart(tiny_examples, tmp_path):
    recipe = Recipe(epochs=30, augmentation=NO_AUGMENTATION)
    seen = []
    fit(TINY, tiny_examples, (), recipe, tmp_path, report=seen.append)
    assert seen[-1].loss < 0.5 * seen[0].loss


def test_too_few_scans(tiny_examples, tmp_path):
    with pytest.raises(UsageError, match="batch of 4"):
        fit(TINY, tiny_examples[:3], (), RECIPE, tmp_path)


def test_predictions_do_not_depend_on_the_batch(tiny_examples, tmp_path):
    model = fit(TINY, tiny_examples, (), Recipe(epochs=1), tmp_path)
    together = predict(model, tiny_examples)
    alone = [predict(model, [e]) for e in tiny_examples]
    for of in ("logits", "features"):
        rows = np.concatenate([getattr(one, of) for one in alone])
        np.testing.assert_allclose(getattr(together, of), rows, atol=1e-5, rtol=1e-5)


def test_no_scans_give_no_rows(tiny_examples):
    none = predict(DARNet(TINY), [])
    assert none.logits.shape == (0, 3)
    assert none.features.shape == (0, 8 * TINY.width)
