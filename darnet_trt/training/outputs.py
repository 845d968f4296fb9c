"""Run a network on preprocessed scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from darnet_trt.training.inputs import Example
from darnet_trt.training.model import DARNet

EVALUATION_BATCH: Final = 4  # fits in memory wherever a training batch of 4 does


def predict_logits(
    model: DARNet, examples: Sequence[Example], device: str = "cpu"
) -> npt.NDArray[np.float32]:
    """Return the logits (n, classes) in evaluation mode."""
    model.eval()
    batches = [np.zeros((0, len(model.network.classes)), np.float32)]
    with torch.inference_mode():
        for first in range(0, len(examples), EVALUATION_BATCH):
            x, _ = batch_of(examples[first : first + EVALUATION_BATCH], device)
            logits, _ = model(x.contiguous(memory_format=torch.channels_last_3d))
            batches.append(logits.cpu().numpy())
    return np.concatenate(batches)


def batch_of(examples: Sequence[Example], device: str) -> tuple[Tensor, Tensor]:
    """Return the inputs (n, 1, d, h, w) and the labels (n,) of scans, on a device."""
    x = torch.from_numpy(np.stack([e.load() for e in examples]))
    return x.to(device), torch.tensor([e.label for e in examples], device=device)
