import numpy as np
import pytest
import torch

from darnet_trt.training.ablation.explanation.gates import look
from darnet_trt.training.model import DARNet, Network


@pytest.mark.parametrize("attention", ["none", "channel", "depth", "both"])
def test_gates_are_those_that_scale_the_slices(attention):
    torch.manual_seed(0)
    model = DARNet(Network(attention=attention, width=4, input_size=(9, 33, 33))).eval()
    scan = np.random.default_rng(0).random((1, 9, 33, 33), np.float32)
    seen = look(model, 1.0, scan)
    with torch.inference_mode():
        logits, cam, *_ = model(torch.from_numpy(scan)[None])
        np.testing.assert_allclose(seen.probabilities, logits.softmax(1)[0].numpy(), rtol=1e-5)
        np.testing.assert_array_equal(seen.cam, cam[0].numpy())
        if attention in ("none", "channel"):
            assert seen.gates == ()
            return
        assert [len(g) for g in seen.gates] == [9, 5, 3, 2]
        x = model.stem(torch.from_numpy(scan)[None])
        for stage, gates in zip(model.stages, seen.gates, strict=True):
            before, block = stage[0](x), stage[1]
            y = block.bn2(block.conv2(block.bn1(block.conv1(before)).relu()))
            y = block.channel_attention(y)
            scaled = block.depth_attention(y)
            ratio = (scaled / y)[0].mean((2, 3)).mean(0)
            np.testing.assert_allclose(gates, ratio.numpy(), rtol=1e-3)
            x = stage(x)
