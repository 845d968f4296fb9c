"""Open what is evaluated: the checkpoint of a run, or an engine of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import is_zipfile

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import FILE_NAME
from darnet_trt.errors import UsageError
from darnet_trt.evaluation.seen import TrainingScans
from darnet_trt.machine.cache import digest
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.fitting.folder import CHECKPOINT, no_checkpoint

if TYPE_CHECKING:
    from darnet_trt.training.inputs import Example

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Judged:
    """A network that is evaluated.

    Attributes:
        facts: What tells it from others, for `metrics.json`.
        classes: Names of the logits.
        preprocessing: What makes its input.
        temperature: Divides its logits.
        trained: Which scans trained the weights; None where nobody knows.
        logits: Gives float32 (n, classes) for n scans.
        warnings: What is unusual about it.
        shortcuts: Codes of what gave the training cohort's classes away; empty where nothing did.
    """

    facts: dict[str, str]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    trained: TrainingScans | None
    logits: Callable[[Sequence[Example]], Logits]
    warnings: tuple[str, ...] = ()
    shortcuts: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Hash of what tells it from others."""
        return digest(*self.facts.values())


@contextmanager
def opened(path: Path, artifact: str | None, threads: int | None) -> Iterator[Judged]:
    """Open a run or a bundle; its kind is told by the file that it holds.

    Args:
        path: The run's folder, its checkpoint, or the bundle.
        artifact: Name of the bundle's engine; None: its default.
        threads: CPU threads; None leaves the number to torch or the engine.

    Raises:
        UsageError: `artifact` is given for a run, or there is no such engine.
        CheckpointError, BundleError, DeviceError: It cannot be used, or is neither of the two.
        MissingPackageError: A package that runs it is not installed.
    """
    if (path / FILE_NAME).exists():
        with _engine(path, artifact, threads) as judged:
            yield judged
    elif path.exists() and not _may_be_run(path):
        raise no_checkpoint(path, bundle_too=True)
    elif artifact is not None:
        raise UsageError("only a bundle has engines", where="--artifact", do="omit it for a run")
    else:
        yield _checkpoint(path, threads)


def _may_be_run(path: Path) -> bool:
    """Return whether a path is a run's folder, or a file in a checkpoint's format."""
    return (path / CHECKPOINT).exists() or (path.is_file() and is_zipfile(path))


def _checkpoint(path: Path, threads: int | None) -> Judged:
    from darnet_trt.machine.hardware import require_packages

    require_packages("torch", extra="train")
    import torch

    from darnet_trt.bundle.reading import sha256_of
    from darnet_trt.training.checkpoint import checkpoint_file, load_checkpoint
    from darnet_trt.training.outputs import predict

    if threads:
        torch.set_num_threads(threads)
    checkpoint = load_checkpoint(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = checkpoint.model().to(device)
    facts = {
        "kind": "checkpoint",
        "checkpoint_sha256": sha256_of(checkpoint_file(path)),
        "precision": "fp32",
        "trained_on": checkpoint.training,
    }
    return Judged(
        facts,
        checkpoint.network.classes,
        checkpoint.preprocessing,
        checkpoint.temperature,
        checkpoint.training_scans,
        lambda examples: predict(model, examples, device).logits,
        shortcuts=checkpoint.shortcuts,
    )


@contextmanager
def _engine(path: Path, artifact: str | None, threads: int | None) -> Iterator[Judged]:
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.runtime.engines.loading import load_engine
    from darnet_trt.runtime.engines.runner import run
    from darnet_trt.runtime.training_scans import training_scans_of

    bundle = open_bundle(path)
    model = bundle.manifest.model
    engine = load_engine(bundle, artifact, threads=threads)
    facts = {
        "kind": "engine",
        "bundle_sha256": bundle.sha256,
        "checkpoint_sha256": model.checkpoint_sha256,
        "artifact": engine.artifact.name,
        "precision": engine.runner.precision,
        "trained_on": model.trained_on,
    }
    try:
        yield Judged(
            facts,
            bundle.manifest.classes,
            bundle.manifest.preprocessing,
            model.temperature,
            training_scans_of(bundle),
            lambda examples: run(engine.runner, [e.load() for e in examples]).logits,
            tuple(map(str, engine.warnings)),
            model.shortcuts,
        )
    finally:
        engine.runner.close()


UNKNOWN: Final = (
    "nobody knows which of these scans trained the weights: what was built or trained with an "
    "older version does not say"
)
"""Printed where `trained` is None."""
