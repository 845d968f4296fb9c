"""Start a training from the weights of another."""

from __future__ import annotations

from torch import Tensor

from darnet_trt.errors import UsageError
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.checkpoint import Checkpoint
from darnet_trt.training.model import Network

_HEAD = "classifier."


def starting_weights(
    start: Checkpoint, network: Network, preprocessing: Preprocessing, new_head: bool
) -> dict[str, Tensor]:
    """Return the weights to start from; the others stay random.

    Args:
        start: What was trained before.
        network: What will be trained.
        preprocessing: Of its inputs.
        new_head: Take a new classifier with random weights, for other classes.

    Raises:
        UsageError: The checkpoint has another architecture, preprocessing or, without `new_head`,
            other classes.
    """
    ours = network.model_dump(mode="json") | preprocessing.model_dump(mode="json")
    theirs = start.network.model_dump(mode="json") | start.preprocessing.model_dump(mode="json")
    if new_head:
        del ours["classes"], theirs["classes"]
    differing = [
        f"{name} {theirs[name]!r}, not {ours[name]!r}"
        for name in ours
        if ours[name] != theirs[name]
    ]
    if differing:
        only_classes = len(differing) == 1 and differing[0].startswith("classes ")
        raise UsageError(
            f"the checkpoint has {'; '.join(differing)}",
            where="--from",
            do="give --new-head to train a new classifier for these classes"
            if only_classes
            else "train with the checkpoint's options, or from random weights",
        )
    return {
        name: value
        for name, value in start.state_dict.items()
        if not (new_head and name.startswith(_HEAD))
    }
