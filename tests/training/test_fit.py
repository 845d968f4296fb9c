"""The training loop: repeatable, and resumable without a trace."""

import csv

import numpy as np
import pytest
import torch

from darnet_trt.errors import UsageError
from darnet_trt.training.fit import fit
from darnet_trt.training.fitting import state
from darnet_trt.training.fitting.folder import STATE
from darnet_trt.training.fitting.history import HISTORY, read_history
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
        ({"augmentation": Augmentation(flip=0)}, r"flip 0\.5, not 0\.0"),
        ({"loading": 0, "learning_rate": 0.1}, "learning rate 0.001, not 0.1"),
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


def test_the_rates_that_are_told_are_those_that_adam_used(tiny_examples, tmp_path, monkeypatch):
    """Along half a cosine; an epoch's is that of its first step, as CosineAnnealingLR has it."""
    used, epochs, steps = [], [], []
    take = torch.optim.Adam.step

    def noted(optimizer, *arguments, **options):
        used.append(optimizer.param_groups[0]["lr"])
        return take(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    monkeypatch.setattr(state, "SAVE_EVERY_S", 0)
    recipe = Recipe(epochs=4, learning_rate=1e-6)
    fit(TINY, tiny_examples, (), recipe, tmp_path, report=epochs.append, saved=steps.append)
    assert [s.learning_rate for s in steps] == used
    assert [e.learning_rate for e in epochs] == used[::3]
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(
        torch.optim.SGD([torch.zeros(1)], 1e-6), recipe.epochs
    )
    for epoch in epochs:
        assert epoch.learning_rate == pytest.approx(theirs.get_last_lr()[0])
        theirs.optimizer.step()
        theirs.step()
    kept = [e.learning_rate for e in read_history(tmp_path / HISTORY)]
    assert kept == pytest.approx([e.learning_rate for e in epochs], rel=1e-5)


def test_learns_its_training_scans_by_heart(tiny_examples, tmp_path):
    recipe = Recipe(epochs=30, augmentation=NO_AUGMENTATION)
    seen = []
    fit(TINY, tiny_examples, (), recipe, tmp_path, report=seen.append)
    assert seen[-1].loss < 0.5 * seen[0].loss


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
