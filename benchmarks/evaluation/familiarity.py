"""Measure which scans are flagged as unlike the training scans: the tables of docs/familiarity.md.

    python -m benchmarks.evaluation.familiarity RUN SCANS… [--changed 20]

RUN is a run of `darnet-trt train`, SCANS are folders of scans, a row each. Then some scans of the
first folder, changed in ways that a scan should not be. A distance is some 1 for a scan like the
training scans; the larger of both counts. The network runs in torch.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from darnet_trt.errors import ScanError
from darnet_trt.evaluation.texture import texture
from darnet_trt.scan import find_studies, load_study
from darnet_trt.training.checkpoint import load_checkpoint

HU = 1 / 1500
"""A Hounsfield unit in an input of the default window."""
NOISE = np.random.default_rng(0)
CHANGES = {
    "noise of 15 HU": lambda v: v + NOISE.normal(0, 15 * HU, v.shape),
    "noise of 45 HU": lambda v: v + NOISE.normal(0, 45 * HU, v.shape),
    "blurred by 0.6 voxels": lambda v: gaussian_filter(v, (0, 0.6, 0.6, 0.6)),
    "every second row and column": lambda v: v[:, :, halves(v, 2)][..., halves(v, 3)],
    "window of 1250 HU": lambda v: (v - 0.5) * 1.2 + 0.5,
    "window of 1000 HU": lambda v: (v - 0.5) * 1.5 + 0.5,
    "150 HU too high": lambda v: v + 150 * HU,
    "black is white": lambda v: 1 - v,
    "body without soft tissue": lambda v: np.where(v > 0.75, 0, v),
    "nothing but air": lambda v: np.full_like(v, 350 * HU),
    "blank": np.zeros_like,
    "upside down": lambda v: v[:, ::-1],
    "turned by 90°": lambda v: np.rot90(v, axes=(2, 3)),
}


def halves(volume: np.ndarray, axis: int) -> np.ndarray:
    """Return indices that take every second plane of an axis twice."""
    return np.arange(volume.shape[axis]) // 2 * 2


def inputs(folder: Path, spec) -> Iterable[np.ndarray]:
    """Yield the network's input of each scan that is not refused."""
    for study in find_studies(folder):
        try:
            yield load_study(study, spec)[1].array
        except ScanError as error:
            print(f"left out: {error}")


def row(name: str, volumes: Iterable[np.ndarray], model, familiarity) -> str:
    """Return a line of the table: the distances' median and 95 % quantile, and who is flagged.

    Where there are at most five scans, it has all of them.
    """
    found = [(model(torch.from_numpy(v)[None])[2][0].numpy(), texture(v)) for v in volumes]
    features, textures = map(np.array, zip(*found, strict=True))
    apart = familiarity.distances(features, textures)
    beyond = np.maximum(*apart) > familiarity.threshold
    shown = (
        ", ".join(f"{value:.1f}" for value in (np.quantile(d, (0.5, 0.95)) if len(d) > 5 else d))
        for d in apart
    )
    return f"| {name} | {' | '.join(shown)} | {beyond.sum()} of {len(beyond)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--changed", type=int, default=20, help="how many scans to change")
    arguments = parser.parse_args()
    checkpoint = load_checkpoint(arguments.run)
    familiarity, model = checkpoint.familiarity, checkpoint.model()
    if familiarity is None:
        parser.error(f"{arguments.run}: its training held no scans out; train it again")
    kept: list[np.ndarray] = []
    print(f"threshold {familiarity.threshold:.2f}\n")
    print("| scans | features | texture | flagged |\n| --- |" + " ---: |" * 3)
    with torch.inference_mode():
        for folder in arguments.scans:
            volumes = [*inputs(folder, checkpoint.preprocessing)]
            kept = kept or volumes[: arguments.changed]
            if volumes:
                print(row(folder.name, volumes, model, familiarity), flush=True)
        for name, change in CHANGES.items() if kept else ():
            changed = (np.clip(change(v), 0, 1).astype(np.float32) for v in kept)
            print(row(name, (np.ascontiguousarray(v) for v in changed), model, familiarity))


if __name__ == "__main__":
    main()
