"""Run a network on preprocessed scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from darnet_trt.training.inputs import Example
from darnet_trt.training.model import DARNet

EVALUATION_BATCH: Final = 4  # fits in memory wherever a training batch of 4 does


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network says of scans.

    Attributes:
        logits: float32 (n, classes).
        features: The pooled features before the classifier, float32 (n, 8·width).
    """

    logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]


def predict(model: DARNet, examples: Sequence[Example], device: str = "cpu") -> Predictions:
    """Run a network in evaluation mode; no scans give arrays of 0 rows."""
    model.eval()
    classifier = model.classifier
    logits = [np.zeros((0, classifier.out_features), np.float32)]
    features = [np.zeros((0, classifier.in_features), np.float32)]
    with torch.inference_mode():
        for first in range(0, len(examples), EVALUATION_BATCH):
            x, _ = batch_of(examples[first : first + EVALUATION_BATCH], device)
            found = model(x.contiguous(memory_format=torch.channels_last_3d))
            logits.append(found[0].cpu().numpy())
            features.append(found[2].cpu().numpy())
    return Predictions(np.concatenate(logits), np.concatenate(features))


def batch_of(examples: Sequence[Example], device: str) -> tuple[Tensor, Tensor]:
    """Return the inputs (n, 1, d, h, w) and the labels (n,) of scans, on a device."""
    x = torch.from_numpy(np.stack([e.load() for e in examples]))
    return x.to(device), torch.tensor([e.label for e in examples], device=device)
