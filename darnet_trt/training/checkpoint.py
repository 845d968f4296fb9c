"""Read and write checkpoints: the weights, and everything needed to use them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import ZIP_STORED, ZipFile, is_zipfile

import numpy as np
import torch
from torch import Tensor

from darnet_trt.errors import CheckpointError
from darnet_trt.evaluation.familiarity import Familiarity
from darnet_trt.evaluation.seen import TrainingScans
from darnet_trt.machine.files import cannot_write, whole_file
from darnet_trt.scan.cohorts import describes_phantoms
from darnet_trt.scan.preprocessing import Preprocessing
from darnet_trt.training.fitting.folder import CHECKPOINT, no_checkpoint
from darnet_trt.training.model import DARNet, Network, unfilled

SCHEMA = 1
_LONGEST_PICKLE: Final = 16 << 20
_MOST_OF_SCANS: Final = 256 << 20  # 1 kB a scan at most
_MOST_BESIDE: Final = 16 << 20  # beside weights and scans
_FAMILIARITY: Final = "features and textures"  # older ones have `familiarity`, of features alone


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained network.

    Attributes:
        network: Its shape.
        preprocessing: What made its input; its size is the network's input size.
        trained_on: One sentence on the training data.
        validation: Metrics on the held-out patients, by name; empty if none were held out.
        state_dict: The weights, on the CPU.
        phantoms_only: Whether the training scans were all synthetic phantoms.
        coarsest_pixel_mm: The largest `LoadedInput.pixel_mm` of the training scans; None where
            none is known.
        training_scans: What tells which scans trained the weights; None in older checkpoints.
        shortcuts: Codes of what gave the cohort's classes away without the lungs
            (`training.checking`); empty where nothing was found, and in older checkpoints.
        temperature: What the logits are divided by before the softmax; 1 where no scans were held
            out, and in older checkpoints.
        familiarity: Where the training scans lie; None where no scans were held out, and in older
            checkpoints.
    """

    network: Network
    preprocessing: Preprocessing
    trained_on: str
    validation: dict[str, float]
    state_dict: dict[str, Tensor]
    phantoms_only: bool = False
    coarsest_pixel_mm: float | None = None
    training_scans: TrainingScans | None = None
    shortcuts: tuple[str, ...] = ()
    temperature: float = 1.0
    familiarity: Familiarity | None = None

    @property
    def training(self) -> str:
        """Return `trained_on`, and what gave the classes away."""
        if not self.shortcuts:
            return self.trained_on
        found = ", ".join(self.shortcuts)
        return f"{self.trained_on}; the cohort gives its classes away without the lungs ({found})"

    def model(self) -> DARNet:
        """Return the network with these weights, in evaluation mode.

        Raises:
            CheckpointError: The weights do not fit the network.
        """
        model = unfilled(self.network)
        _check_weights(model.state_dict(), self.state_dict)
        model.load_state_dict(self.state_dict, assign=True)
        return model.requires_grad_(False).eval()


def _check_weights(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError if weights differ from those expected in name, shape or kind."""
    for name in sorted(expected.keys() | given.keys()):
        want, found = _kind(expected.get(name)), _kind(given.get(name))
        if want != found:
            raise CheckpointError(
                f"the weights do not fit the network: {name} is {found}, expected {want}",
                do="train again",
            )


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError if a weight is NaN or infinite."""
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise CheckpointError(
                f"the weight {name} holds NaN or infinite values", do="train again"
            )


def _kind(weight: Tensor | None) -> str:
    if weight is None:
        return "absent"
    layout = "" if weight.layout == torch.strided else f" {weight.layout}"
    return f"{tuple(weight.shape)} {weight.dtype}{layout}".replace("torch.", "")


def save_checkpoint(checkpoint: Checkpoint, run: Path) -> Path:
    """Write `run/checkpoint.pt`, whole or not at all, and return its path.

    Raises:
        OutputError: It cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "network": checkpoint.network.model_dump_json(),
        "preprocessing": checkpoint.preprocessing.model_dump_json(),
        "trained_on": checkpoint.trained_on,
        "validation": dict(checkpoint.validation),
        "phantoms_only": checkpoint.phantoms_only,
        "coarsest_pixel_mm": checkpoint.coarsest_pixel_mm,
        "training_scans": _packed(checkpoint.training_scans),
        "shortcuts": list(checkpoint.shortcuts),
        "temperature": checkpoint.temperature,
        _FAMILIARITY: _arrays(checkpoint.familiarity),
        "state_dict": {k: v.detach().cpu().contiguous() for k, v in checkpoint.state_dict.items()},
    }
    path = run / CHECKPOINT
    write_tensors(content, path)
    return path


def _packed(scans: TrainingScans | None) -> dict[str, Any] | None:
    """Return what `torch.load` reads without running code: tensors of int64, and a string."""
    if scans is None:
        return None
    tensors = {name: torch.tensor(array) for name, array in scans.packed().items()}
    return tensors | {"salt": scans.salt.hex()}


def _unpacked(content: dict[str, Any] | None) -> TrainingScans | None:
    if content is None:
        return None
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if sum(value.nbytes for value in tensors.values()) > _MOST_OF_SCANS:
        raise ValueError("its lists of scans are too long")
    arrays = {name: value.numpy() for name, value in tensors.items()}
    salt = np.frombuffer(bytes.fromhex(content["salt"]), np.uint8)
    return TrainingScans.unpacked(arrays | {"salt": salt})


def _arrays(familiarity: Familiarity | None) -> dict[str, Any] | None:
    """Return what `torch.load` reads without running code."""
    if familiarity is None:
        return None
    return {
        "means": torch.from_numpy(familiarity.means),
        "precision": torch.from_numpy(familiarity.precision),
        "threshold": familiarity.threshold,
    }


def _familiarity(content: dict[str, Any] | None) -> Familiarity | None:
    if content is None:
        return None
    means, precision = (content[name].clone().numpy() for name in ("means", "precision"))
    return Familiarity(means, precision, float(content["threshold"]))


def write_tensors(content: dict[str, Any], path: Path) -> None:
    """Call `torch.save` so that the file is whole or absent; create its folder.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            torch.save(content, file)
    except OSError as error:
        raise cannot_write(path, error) from error
    except RuntimeError as error:  # torch raises its own while it handles the system's
        if not isinstance(error.__context__, OSError):
            raise
        raise cannot_write(path, error.__context__) from error


def checkpoint_file(run: Path) -> Path:
    """Return the checkpoint of a run's folder; a path that is no folder, as it is."""
    return run / CHECKPOINT if run.is_dir() else run


def load_checkpoint(run: Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        run: The run's folder, or the checkpoint file itself.

    Raises:
        CheckpointError: Absent, not a checkpoint, of another schema, or inconsistent.
    """
    path = checkpoint_file(run)
    if not path.is_file():
        raise no_checkpoint(run)
    content = read_tensors(path, mapped=True)
    if content.get("schema") != SCHEMA:
        raise CheckpointError(
            f"the checkpoint's schema is {content.get('schema')}, this version reads {SCHEMA}",
            where=path,
            do="train again or use the version that wrote it",
        )
    try:
        network = Network.model_validate_json(content["network"])
        expected = unfilled(network).state_dict()
        _check_weights(expected, content["state_dict"])
        _check_finite(content["state_dict"])
        scans = _unpacked(content.get("training_scans"))
        _check_size(path, expected, scans)
        checkpoint = Checkpoint(
            network=network,
            preprocessing=Preprocessing.model_validate_json(content["preprocessing"]),
            trained_on=str(content["trained_on"]),
            validation={str(k): float(v) for k, v in content["validation"].items()},
            state_dict={name: value.clone() for name, value in content["state_dict"].items()},
            # older checkpoints have the sentence alone
            phantoms_only=bool(
                content.get("phantoms_only", describes_phantoms(content["trained_on"]))
            ),
            coarsest_pixel_mm=content.get("coarsest_pixel_mm"),
            training_scans=scans,
            shortcuts=tuple(map(str, content.get("shortcuts", ()))),
            temperature=float(content.get("temperature", 1.0)),
            familiarity=_familiarity(content.get(_FAMILIARITY)),
        )
        if checkpoint.familiarity is not None:
            features = expected["classifier.weight"].shape[1]
            checkpoint.familiarity.check(len(network.classes), features)
        if not 0 < checkpoint.temperature < math.inf:
            raise ValueError("the temperature is no positive number")
    except CheckpointError as error:
        raise CheckpointError(error.what, where=path, do=error.do) from error
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the checkpoint is incomplete or damaged ({type(error).__name__})",
            where=path,
            do="train again",
        ) from error
    if checkpoint.network.input_size != checkpoint.preprocessing.size:
        raise CheckpointError(
            f"the network expects {checkpoint.network.input_size}, "
            f"the preprocessing makes {checkpoint.preprocessing.size}",
            where=path,
            do="train again",
        )
    return checkpoint


def _check_size(path: Path, expected: Mapping[str, Tensor], scans: TrainingScans | None) -> None:
    """Raise CheckpointError if a file holds more than its network and its scans need."""
    most = sum(value.nbytes for value in expected.values()) + _MOST_BESIDE
    if scans is not None:
        hashes = len(scans.patients) + sum(map(len, scans.scans)) + len(scans.scans)
        most += hashes * torch.int64.itemsize
    if path.stat().st_size > most:
        raise CheckpointError(
            f"the file has {path.stat().st_size} bytes, and its network needs {most} at most",
            do="train again",
        )


def read_tensors(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Read a dictionary that `torch.save` wrote, without running code from the file.

    Args:
        path: The file.
        mapped: Leave the tensors in the file until they are used.

    Raises:
        CheckpointError: Unreadable, damaged, or no such dictionary.
    """
    try:
        if not is_zipfile(path):  # torch would read it as its format from before 2020
            raise ValueError("it is not a ZIP file")
        _check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if not isinstance(content, dict):
            raise TypeError("it does not hold a dictionary")
    except Exception as error:  # what torch raises depends on where the file is damaged
        raise CheckpointError(
            "this is not a readable checkpoint",
            where=path,
            do="name the folder that train wrote, or copy the checkpoint again",
        ) from error
    return content


def _check_archive(path: Path) -> None:
    """Raise ValueError or BadZipFile if a file unpacks to more than its size, or is damaged.

    torch stores without compression, and does not look at the checksums.
    """
    with ZipFile(path) as archive:
        for part in archive.infolist():
            if part.compress_type != ZIP_STORED:
                raise ValueError("a part is compressed")
            if part.filename.endswith("data.pkl") and part.file_size > _LONGEST_PICKLE:
                raise ValueError("its list of tensors is too long")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} is damaged")
