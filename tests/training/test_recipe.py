"""What the fields of a recipe do to a training."""

import pytest
import torch

from darnet_trt.errors import UsageError
from darnet_trt.training.fit import fit
from darnet_trt.training.fitting.arithmetic import recompute_blocks, refuse_precision
from darnet_trt.training.model import DARNet, Network
from darnet_trt.training.recipe import NO_AUGMENTATION, Recipe, refuse_scans
from tests.training.test_fit import weights
from tests.training.tiny_network import TINY, random_examples

RECIPE = Recipe(epochs=3, seed=2)


def trained(examples, run, **fields):
    """Return the weights after a training, and its epochs."""
    epochs = []
    recipe = RECIPE.model_copy(update=fields)
    model = fit(TINY, examples[:8], examples[8:], recipe, run, report=epochs.append)
    return model, epochs


def test_loading_ahead_changes_nothing(tiny_examples, tmp_path):
    one, two = (trained(tiny_examples, tmp_path / str(n), loading=n)[0] for n in (0, 3))
    assert torch.equal(weights(one), weights(two))


def test_parts_of_a_batch_are_like_the_whole_without_batch_normalization(tiny_examples, tmp_path):
    (_, whole), (_, parts) = (
        trained(tiny_examples, tmp_path / str(n), accumulate=n, frozen_normalization=True)
        for n in (1, 4)
    )
    assert [e.loss for e in parts] == pytest.approx([e.loss for e in whole], abs=1e-4)


def test_computing_activations_again_changes_no_weights_and_no_statistics(tiny_examples, tmp_path):
    (plain, _), (again, _) = (
        trained(tiny_examples, tmp_path / str(asked), checkpointing=asked)
        for asked in (False, True)
    )
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, msg=name)


def test_computing_activations_again_keeps_less():
    def kept(recompute):
        model = DARNet(TINY, fused=True).train()
        if recompute:
            recompute_blocks(model)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.nbytes) or t, lambda t: t
        ):
            model(torch.rand(2, 1, *TINY.input_size))
        return sum(sizes)

    assert kept(True) < 0.5 * kept(False)


def test_frozen_normalization_keeps_its_statistics(tiny_examples, tmp_path):
    def statistics(model):
        return torch.cat([v.flatten() for k, v in model.state_dict().items() if "running" in k])

    (frozen, _), (moving, _) = (
        trained(tiny_examples, tmp_path / str(asked), frozen_normalization=asked)
        for asked in (True, False)
    )
    assert torch.equal(statistics(frozen), statistics(DARNet(TINY)))
    assert not torch.equal(statistics(moving), statistics(DARNet(TINY)))


bf16 = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_bf16"), reason="the CPU has no bf16"
)


@bf16
def test_bf16_is_close_to_fp32(tmp_path):
    network = Network(width=4, input_size=(25, 49, 49))  # maps of four voxels a side at the end
    examples = random_examples(tmp_path, network, 4)
    losses, found = {}, {}
    for precision in ("fp32", "bf16"):
        recipe = Recipe(epochs=1, precision=precision, augmentation=NO_AUGMENTATION)
        epochs = []
        model = fit(network, examples, (), recipe, tmp_path / precision, report=epochs.append)
        losses[precision], found[precision] = epochs[0].loss, model
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert not torch.equal(weights(found["fp32"]), weights(found["bf16"]))
    assert all(v.dtype != torch.bfloat16 for v in found["bf16"].state_dict().values())


@bf16
def test_bf16_refuses_maps_on_which_its_gradients_are_wrong():
    with pytest.raises(UsageError, match="1×1×1 voxels"):
        refuse_precision("bf16", "cpu", TINY)


def test_fp16_needs_a_gpu():
    with pytest.raises(UsageError, match="fp16"):
        refuse_precision("fp16", "cpu", TINY)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(UsageError, match="--batch"):
        refuse_scans(RECIPE.model_copy(update={"accumulate": 3}), train=8, held_out=2)


@pytest.mark.slow
def test_the_best_epoch_by_the_held_out_scans(tiny_examples, tmp_path):
    fields = {"learning_rate": 0.3, "epochs": 6}  # so high that later epochs may be worse
    best, epochs = trained(tiny_examples, tmp_path / "best", best=True, **fields)
    lowest = min(epochs, key=lambda epoch: epoch.held_out_loss)
    again, until = trained(tiny_examples, tmp_path / "again", **fields)
    assert [e.held_out_loss for e in until] == [e.held_out_loss for e in epochs]
    assert torch.equal(weights(best), weights(again)) is (lowest.epoch == len(epochs))


def test_patience_ends_it(tiny_examples, tmp_path):
    _, epochs = trained(tiny_examples, tmp_path, patience=1, epochs=50, learning_rate=0.3)
    losses = [epoch.held_out_loss for epoch in epochs]
    assert len(epochs) < 50
    assert losses[-1] >= min(losses[:-1])
    assert losses[:-1] == sorted(losses[:-1], reverse=True)


@pytest.mark.parametrize("asked", [{"patience": 2}, {"best": True}])
def test_choosing_needs_held_out_scans(asked):
    with pytest.raises(UsageError, match="held-out"):
        refuse_scans(RECIPE.model_copy(update=asked), train=8, held_out=0)
