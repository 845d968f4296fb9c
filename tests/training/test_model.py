"""The network against the paper: parameter counts, shapes, the free class activation map."""

import pytest
import torch

from darnet_trt.training.model import DARNet, Network


@pytest.mark.parametrize(
    ("attention", "parameters"),
    [("none", 33_148_995), ("channel", 33_238_075), ("depth", 35_148_083), ("both", 35_237_163)],
)
def test_parameter_counts_of_table_3(attention, parameters):
    with torch.device("meta"):
        model = DARNet(Network(attention=attention))
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_feature_map_is_an_eighth_deep_and_a_sixteenth_wide():
    model = DARNet(Network(width=4, input_size=(32, 64, 48)))
    logits, cam = model(torch.zeros(2, 1, 32, 64, 48))
    assert logits.shape == (2, 3)
    assert cam.shape == (2, 3, 4, 4, 3)


def test_logits_are_the_mean_of_the_map_plus_the_bias():
    model = DARNet(Network(width=4, input_size=(16, 32, 32))).eval()
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
        logits, cam = model(torch.rand(2, 1, 16, 32, 32))
    torch.testing.assert_close(logits, cam.mean((2, 3, 4)) + torch.tensor([1.0, 2.0, 3.0]))


def test_odd_sizes_keep_the_depth_attention_in_step():
    model = DARNet(Network(width=4, input_size=(17, 33, 35)))
    logits, _ = model(torch.zeros(1, 1, 17, 33, 35))
    assert logits.shape == (1, 3)
