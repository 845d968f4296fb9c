"""What is learnt from the held-out scans when a training has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.familiarity import Familiarity, fit_familiarity
from darnet_trt.evaluation.measured import CALIBRATED
from darnet_trt.evaluation.metrics import evaluate
from darnet_trt.evaluation.temperature import fit_temperature
from darnet_trt.evaluation.texture import texture
from darnet_trt.training.inputs import Example
from darnet_trt.training.model import DARNet
from darnet_trt.training.outputs import predict

_OF_PROBABILITIES: Final = ("log_loss", "calibration_error")


@dataclass(frozen=True)
class Assessment:
    """What the held-out scans say of a network; the defaults are for none.

    Attributes:
        validation: Its metrics, by name; those of `CALIBRATED` flatter it a little, because the
            temperature comes from the same scans.
        temperature: What its logits are divided by before the softmax.
        familiarity: Where its training scans lie.
        logits: Of the held-out scans, (n, classes).
    """

    validation: dict[str, float] = field(default_factory=dict)
    temperature: float = 1.0
    familiarity: Familiarity | None = None
    logits: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def assess(
    model: DARNet, train: Sequence[Example], held_out: Sequence[Example], device: str
) -> Assessment:
    """Measure a network on the held-out scans, and learn its temperature and familiarity.

    Args:
        model: Trained; on `device`.
        train: The scans that trained it. They are run once more, as they are.
        held_out: Others.
        device: "cpu", "cuda", "cuda:1".
    """
    if not held_out:
        return Assessment()
    classes = model.network.classes
    seen, unseen = predict(model, train, device), predict(model, held_out, device)
    labels, held_out_labels = (np.array([e.label for e in side]) for side in (train, held_out))
    temperature = fit_temperature(unseen.logits, held_out_labels)
    validation = evaluate(unseen.logits, held_out_labels, classes)
    soft = evaluate(unseen.logits / np.float32(temperature), held_out_labels, classes)
    validation |= {CALIBRATED + k: v for k, v in soft.items() if k in _OF_PROBABILITIES}
    textures, held_out_textures = (
        np.stack([texture(e.load()) for e in side]) for side in (train, held_out)
    )
    familiarity = fit_familiarity(
        (seen.features, textures), labels, (unseen.features, held_out_textures)
    )
    return Assessment(validation, temperature, familiarity, unseen.logits)
