"""The state of a training: damage costs little, and what may not be trained on is said."""

import numpy as np
import pytest
import torch

from darnet_trt.errors import OutputError, TrainingError
from darnet_trt.training.fit import fit
from darnet_trt.training.fitting import state
from darnet_trt.training.fitting.folder import BEFORE, STATE
from darnet_trt.training.recipe import Recipe
from tests.full_disk import files_up_to
from tests.training.test_fit import Interruption, weights
from tests.training.tiny_network import TINY

RECIPE = Recipe(epochs=2, batch=2, seed=1)


def interrupted(examples, run, monkeypatch, *, epoch=2, step=3):
    """Leave the states of a training that ended inside an epoch."""

    def stop(found):
        if (found.epoch, found.step) == (epoch, step):
            raise Interruption

    monkeypatch.setattr(state, "SAVE_EVERY_S", 0)
    with pytest.raises(Interruption):
        fit(TINY, examples, (), RECIPE, run, saved=stop)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def changed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


def of_another_version(path):
    torch.save({"model": {}}, path)


@pytest.mark.parametrize(
    ("damaged", "damage"),
    [
        pytest.param([], emptied, marks=pytest.mark.slow),
        pytest.param([STATE], truncated, marks=pytest.mark.slow),
        ([STATE], changed),
        pytest.param([STATE], of_another_version, marks=pytest.mark.slow),
        ([STATE, BEFORE], emptied),
    ],
)
def test_a_damaged_state_costs_little_and_is_named(
    tiny_examples, tmp_path, monkeypatch, damage, damaged
):
    whole = fit(TINY, tiny_examples, (), RECIPE, tmp_path / "whole")
    interrupted(tiny_examples, tmp_path / "cut", monkeypatch)
    for name in damaged:
        damage(tmp_path / "cut" / name)
    told, steps = [], []
    resumed = fit(
        TINY, tiny_examples, (), RECIPE, tmp_path / "cut", tell=told.append, saved=steps.append
    )
    assert torch.equal(weights(whole), weights(resumed))
    assert len(told) == len(damaged)
    assert all(name in line for name, line in zip(damaged, told, strict=True))
    first = [(2, 4), (2, 3), (1, 1)][len(damaged)]
    assert (steps[0].epoch, steps[0].step) == first


def test_how_far_it_has_come_is_told(tiny_examples, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SAVE_EVERY_S", 0)
    steps = []
    fit(TINY, tiny_examples, (), RECIPE, tmp_path, saved=steps.append)
    assert [(s.epoch, s.step, s.steps) for s in steps] == [
        (epoch, step, 6) for epoch in (1, 2) for step in range(1, 7)
    ]
    rates = [s.learning_rate for s in steps]
    assert rates == sorted(rates, reverse=True)
    assert all(s.loss > 0 and s.seconds_left >= 0 for s in steps)
    assert steps[-1].seconds_left == 0


def test_a_full_disk_loses_nothing(tiny_examples, tmp_path, monkeypatch):
    whole = fit(TINY, tiny_examples, (), RECIPE, tmp_path / "whole")
    interrupted(tiny_examples, tmp_path / "cut", monkeypatch)
    with files_up_to(10_000), pytest.raises(OutputError, match="File too large"):
        fit(TINY, tiny_examples, (), RECIPE, tmp_path / "cut")
    resumed = fit(TINY, tiny_examples, (), RECIPE, tmp_path / "cut")
    assert torch.equal(weights(whole), weights(resumed))


def spoiled(example):
    with np.load(example.file) as content:
        parts = dict(content)
    parts["volume"][...] = np.inf
    np.savez(example.file, **parts)


def test_numbers_that_run_away_stop_it_and_name_the_scans(tiny_examples, tmp_path, monkeypatch):
    spoiled(tiny_examples[5])
    monkeypatch.setattr(state, "SAVE_EVERY_S", 0)
    with pytest.raises(TrainingError, match="epoch 1, step") as caught:
        fit(TINY, tiny_examples, (), RECIPE, tmp_path)
    assert str(tiny_examples[5].entry.scan) in str(caught.value)
    kept = state.read_state(tmp_path, lambda line: None)
    assert kept is None or all(v.isfinite().all() for v in kept["model"].values())


def test_a_rate_that_is_far_too_high_stops_it(tiny_examples, tmp_path):
    recipe = RECIPE.model_copy(update={"learning_rate": 1e36, "epochs": 5})
    with pytest.raises(TrainingError, match="no longer finite"):
        fit(TINY, tiny_examples, (), recipe, tmp_path)


@pytest.mark.parametrize("loading", [0, 2])
def test_an_input_that_is_damaged_and_cannot_be_made_again_is_named(
    tiny_examples, tmp_path, loading
):
    tiny_examples[3].file.write_bytes(b"")
    recipe = RECIPE.model_copy(update={"loading": loading})
    with pytest.raises(TrainingError, match="cannot be made again") as caught:
        fit(TINY, tiny_examples, (), recipe, tmp_path)
    assert str(tiny_examples[3].entry.scan) in str(caught.value)
