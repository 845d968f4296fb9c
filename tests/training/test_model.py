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


@pytest.mark.parametrize(("size", "cells"), [((32, 64, 48), (4, 4, 3)), ((17, 33, 35), (3, 3, 3))])
def test_feature_map_is_an_eighth_deep_and_a_sixteenth_wide(size, cells):
    logits, cam, features = DARNet(Network(width=4, input_size=size))(torch.zeros(2, 1, *size))
    assert logits.shape == (2, 3)
    assert cam.shape == (2, 3, *cells)
    assert features.shape == (2, 32)


def test_logits_are_the_mean_of_the_map_plus_the_bias():
    model = DARNet(Network(width=4, input_size=(16, 32, 32))).eval()
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
        logits, cam, features = model(torch.rand(2, 1, 16, 32, 32))
        torch.testing.assert_close(model.classifier(features), logits)
    torch.testing.assert_close(logits, cam.mean((2, 3, 4)) + torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("attention", ["none", "channel", "depth", "both"])
def test_the_fused_network_is_the_papers_network(attention):
    network = Network(attention=attention, width=4, input_size=(9, 17, 20))
    torch.manual_seed(0)
    written = DARNet(network).double()
    fused = DARNet(network, fused=True).double()
    fused.load_state_dict(written.state_dict())  # the same names and shapes
    x = torch.rand(2, 1, *network.input_size, dtype=torch.float64)
    results = []
    for model in (written, fused):
        outputs = model(x)
        outputs[0].square().sum().backward()
        results.append((*outputs, [p.grad for p in model.parameters()]))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-11)


def test_the_fused_network_runs_under_autocast():
    network = Network(width=8, input_size=(12, 32, 24))
    x = torch.rand(2, 1, *network.input_size)
    results = []
    for fused in (False, True):
        torch.manual_seed(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            results.append(DARNet(network, fused=fused)(x)[1].float())
    torch.testing.assert_close(*results, rtol=0.1, atol=0.02)
