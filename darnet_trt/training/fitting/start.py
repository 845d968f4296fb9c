"""Start a training from weights: of another run, or of its own when it is to have more epochs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from darnet_trt.errors import UsageError
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.checkpoint import Checkpoint, load_checkpoint
from darnet_trt.training.fitting.configuration import SCANS, differences, refuse_another
from darnet_trt.training.fitting.folder import CHECKPOINT, has_state
from darnet_trt.training.fitting.history import HISTORY, Epoch, read_history
from darnet_trt.training.fitting.records import METRICS
from darnet_trt.training.fitting.state import refuse_other_run
from darnet_trt.training.model import Network
from darnet_trt.training.recipe import Recipe

_HEAD = "classifier."


@dataclass(frozen=True)
class Finished:
    """A finished run that is to have more epochs.

    Attributes:
        configuration: What decided its result, by name.
    """

    run: Path
    configuration: Mapping[str, Any]

    def go_on(self, configuration: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[Epoch]]:
        """Return its weights and its epochs.

        Raises:
            UsageError: Something other than the number of epochs is asked for.
            CheckpointError: Its weights or its history cannot be read.
        """
        refuse_another(configuration, self.configuration, self.run, but=frozenset({"epochs"}))
        return load_checkpoint(self.run).state_dict, read_history(self.run / HISTORY)


def finished(run: Path, asked: Mapping[str, Any], recipe: Recipe) -> Finished | None:
    """Return a folder's finished run that is to have more epochs; None where there is none.

    Args:
        run: The folder.
        asked: The configuration that is asked for, without the scans.
        recipe: The recipe that is asked for.

    Raises:
        UsageError: It has as many epochs already, an older version wrote it, or the folder holds a
            run of another configuration.
    """
    try:
        configuration = json.loads((run / METRICS).read_bytes())["configuration"]
        enough = configuration["epochs"] >= recipe.epochs
    except (OSError, ValueError, KeyError, TypeError):
        enough = True
    if not (run / CHECKPOINT).exists() or (enough and has_state(run)):
        # the second: killed before it removed the state
        refuse_other_run(run, asked, recipe)
        return None
    if enough:
        raise UsageError(
            "holds a finished run already",
            where=run,
            do="choose another folder, or more --epochs to go on",
        )
    refuse_another(asked, configuration, run, but=SCANS | {"epochs"})
    return Finished(run, configuration)


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
    ours, theirs = (
        shape.model_dump(mode="json") | spec.model_dump(mode="json", exclude={"size"})
        for shape, spec in ((network, preprocessing), (start.network, start.preprocessing))
    )  # the size is that of the network's input
    but = frozenset({"classes"} if new_head else ())
    if differing := [*differences(ours, theirs, but)]:
        raise UsageError(
            f"the checkpoint has {', and '.join(differing)}",
            where="--from",
            do="give --new-head to train a new classifier for these classes"
            if not [*differences(ours, theirs, frozenset({"classes"}))]
            else "give the checkpoint's options, or train from random weights",
        )
    return {
        name: value
        for name, value in start.state_dict.items()
        if not (new_head and name.startswith(_HEAD))
    }


def digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of weights."""
    found = hashlib.sha256()
    for name, value in sorted(weights.items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
