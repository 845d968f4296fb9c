"""The file that lets an interrupted training go on, inside an epoch too.

It is written every minute. The state before it is kept, so that a damaged file costs two minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from darnet_trt.errors import CheckpointError
from darnet_trt.machine.files import remove_left_over
from darnet_trt.training.checkpoint import read_tensors, write_tensors
from darnet_trt.training.fitting.configuration import SCANS, refuse_another
from darnet_trt.training.fitting.folder import BEFORE, STATE
from darnet_trt.training.fitting.training import Training, may_follow
from darnet_trt.training.recipe import Recipe

SAVE_EVERY_S = 60.0

_KEYS: Final = {
    "configuration", "history", "before", "done", "loss", "correct", "seconds",
    "model", "optimizer", "scaler", "best",
}  # fmt: skip


class StateFile:
    """The state of a training in its run's folder.

    Args:
        run: The folder.
        configuration: What decides the result, by name.
        writes: Whether this process writes it.
    """

    def __init__(self, run: Path, configuration: Mapping[str, Any], *, writes: bool) -> None:
        self._run, self._configuration, self._writes = run, dict(configuration), writes
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is a minute old and this process writes it."""
        return self._writes and time.monotonic() - self._saved >= SAVE_EVERY_S

    def save(self, training: Training) -> None:
        """Write it, and keep the one before.

        Raises:
            OutputError: It cannot be written. The one before is kept.
        """
        if self._writes:
            path = self._run / STATE
            if path.exists():
                path.replace(self._run / BEFORE)
            write_tensors({"configuration": self._configuration, **training.content()}, path)
        self._saved = time.monotonic()

    def load(self, training: Training, tell: Callable[[str], None]) -> None:
        """Let a training go on from the state, if there is one.

        The state of a training with fewer epochs that was at its end, and was killed before it
        removed it, is where one with more begins.

        Args:
            training: As it begins.
            tell: Called with a line for a file that is damaged.

        Raises:
            UsageError: It is the state of another configuration.
        """
        content = read_state(self._run, tell)
        if content is not None:
            more = _refuse_another(content, self._configuration, self._run, training.recipe)
            (training.follow if more else training.load)(content)
        if self._writes and self._run.exists():
            remove_left_over(self._run, lambda name: True)


def read_state(run: Path, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the newest state that can be read; None where there is none.

    Args:
        run: The run's folder.
        tell: Called with a line for each file that is damaged.
    """
    there = [run / name for name in (STATE, BEFORE) if (run / name).exists()]
    for path in there:
        try:
            content = read_tensors(path)
            if content.keys() != _KEYS:
                raise CheckpointError("it is of another version")
            return content
        except CheckpointError:
            is_last = path == there[-1]
            then = "the training starts anew" if is_last else "the state before it is taken"
            tell(f"{path} cannot be read, so {then}")
    return None


def refuse_other_run(run: Path, asked: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse, before any scan is read, a folder whose interrupted run cannot go on.

    Args:
        run: The folder.
        asked: The configuration that is asked for, without the scans.
        recipe: The recipe that is asked for.

    Raises:
        UsageError: The state is of another configuration; its scans are not compared.
    """
    content = read_state(run, lambda line: None)
    if content is not None:
        _refuse_another(content, asked, run, recipe, but=SCANS)


def _refuse_another(
    content: Mapping[str, Any],
    asked: Mapping[str, Any],
    run: Path,
    recipe: Recipe,
    but: frozenset[str] = frozenset(),
) -> bool:
    """Refuse the state of another configuration; return whether it is one of fewer epochs."""
    earlier = content["configuration"]
    more = may_follow(recipe, content, earlier["epochs"])
    refuse_another(asked, earlier, run, but=but | {"epochs"} if more else but)
    return more


def remove_state(run: Path) -> None:
    """Remove the files of a training that is finished."""
    for name in (STATE, BEFORE):
        (run / name).unlink(missing_ok=True)
