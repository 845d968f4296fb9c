"""The scans of the parity gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import UsageError
from darnet_trt.scan.preprocessing import Preprocessing, preprocess

# At the paper's size the reference takes 10 s a scan on two cores.
SYNTHETIC_SCANS: Final = 4
SEED: Final = 210506779


@dataclass(frozen=True, eq=False)
class ParityScans:
    """Network inputs, and a description of them.

    Attributes:
        inputs: Each float32 (1, d, h, w).
        source: For the report.
        synthetic: They are phantoms and float16 holds them exactly, so that the bundle can keep
            some. Scans of patients never go into a bundle.
    """

    inputs: tuple[npt.NDArray[np.float32], ...]
    source: str
    synthetic: bool = False


def synthetic_scans(spec: Preprocessing, count: int = SYNTHETIC_SCANS) -> ParityScans:
    """Return phantoms of every label in turn, rounded to float16, the same ones each time."""
    from darnet_trt.phantom import synthesize
    from darnet_trt.scan.cohorts import PAPER_CLASSES

    inputs = tuple(
        preprocess(spec, synthesize(PAPER_CLASSES[i % len(PAPER_CLASSES)], SEED + i))
        .astype(np.float16)
        .astype(np.float32)
        for i in range(count)
    )
    return ParityScans(inputs, f"{count} synthetic phantoms, seed {SEED}", synthetic=True)


def read_scans(path: Path, spec: Preprocessing, log: Callable[[str], None]) -> ParityScans:
    """Read every usable study under a path; log the others.

    Raises:
        UsageError: There is no such path, or no usable study.
    """
    from darnet_trt.scan import find_studies, load_study
    from darnet_trt.scan.isolated import OF_ONE_SCAN, reader

    inputs = []
    with reader() as pixels:
        for study in find_studies(path):
            try:
                loaded = pixels.run(load_study, study, spec, where=study.path)[1]
            except OF_ONE_SCAN as error:
                log(f"skipped for the parity gate: {error}")
            else:
                inputs.append(loaded.array)
    if not inputs:
        raise UsageError(
            "no usable scan", where=path, do=f"list the reasons with: darnet-trt inspect {path}"
        )
    return ParityScans(tuple(inputs), f"{len(inputs)} scans of {path.name}")
