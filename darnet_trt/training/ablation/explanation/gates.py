"""Run a network and keep what it looked at: its map, and the depth gates of each stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from darnet_trt.evaluation.metrics import softmax
from darnet_trt.training.model import DARNet, DepthAttention

Float = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network made of one scan.

    Attributes:
        probabilities: (classes,).
        cam: The class activation maps, (classes, d/8, h/16, w/16).
        gates: For each stage the gates of its last block, 0…1, each slice's mean over the
            channels, (d of the stage,); empty for a network without depth attention.
    """

    probabilities: npt.NDArray[np.float64]
    cam: Float
    gates: tuple[Float, ...]


def look(model: DARNet, temperature: float, scan: Float) -> Seen:
    """Classify a scan.

    Args:
        model: In evaluation mode, not fused: the fused operator does not show its gates.
        temperature: Divides the logits in the probabilities.
        scan: (1, d, h, w), values 0…1.
    """
    found: list[Float] = []

    def keep(excite: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        depth = inputs[0].shape[1]  # of the hidden layer, as of the stage
        found.append(output.sigmoid().view(-1, depth).mean(0).numpy())

    last = [stage[-1].depth_attention for stage in model.stages]  # type: ignore[index]
    hooks = [m.excite.register_forward_hook(keep) for m in last if isinstance(m, DepthAttention)]
    with torch.inference_mode():
        logits, cam = model(torch.from_numpy(scan)[None])[:2]
    for hook in hooks:
        hook.remove()
    probabilities = softmax(logits.numpy() / temperature)[0]
    return Seen(probabilities, cam[0].numpy(), tuple(found))
