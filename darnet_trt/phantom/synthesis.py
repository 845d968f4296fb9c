"""One synthetic scan from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darnet_trt.phantom.body.anatomy import Anatomy, draw_anatomy
from darnet_trt.phantom.body.kinds import draw_findings
from darnet_trt.phantom.scanner.acquisition import Acquisition, draw_acquisition
from darnet_trt.phantom.scanner.render import LESION, render
from darnet_trt.scan.volume import Volume

DEFAULT_MATRIX = 128
DEFAULT_SLICES = (30, 300)  # what scanners make of a chest: 10 mm to 1 mm

# Independent streams of one person's randomness, so that no choice shifts another's.
_ANATOMY, _TISSUE, _ACQUISITION, _FINDINGS, _NOISE = range(5)


@dataclass(frozen=True, eq=False)
class Scan:
    """A synthetic scan and what it was made from.

    Attributes:
        volume: Hounsfield units, int16, oriented S P L.
        anatomy: Whose chest.
        acquisition: How it was scanned.
        regions: For each voxel 0, LUNG (1) or LESION (2: what the scan's kind shows in the lungs),
            uint8, of the volume's shape.
    """

    volume: Volume
    anatomy: Anatomy
    acquisition: Acquisition
    regions: npt.NDArray[np.uint8]

    @property
    def severity(self) -> float:
        """The share of the lungs that is diseased."""
        return float(np.mean(self.regions[self.regions > 0] == LESION))


def synthesize(
    kind: str,
    seed: int | tuple[int, ...],
    *,
    visit: int = 0,
    matrix: int = DEFAULT_MATRIX,
    slices: tuple[int, int] = DEFAULT_SLICES,
) -> Volume:
    """Synthesize a chest CT; the same arguments always give the same voxels.

    Args:
        kind: One of `KINDS`; the paper's three classes are kinds too, those of typical scans.
        seed: The person. Anatomy, acquisition and noise do not depend on the kind.
        visit: Which scan of that person: the anatomy stays, the rest is drawn anew.
        matrix: Rows and columns of a slice.
        slices: Fewest and most slices; the number is drawn between them.

    Returns:
        int16 Hounsfield units, shape (slices, matrix, matrix).

    Raises:
        UsageError: No such kind, or sizes that make no chest CT.
    """
    return synthesize_scan(kind, seed, visit=visit, matrix=matrix, slices=slices).volume


def synthesize_scan(
    kind: str,
    seed: int | tuple[int, ...],
    *,
    visit: int = 0,
    matrix: int = DEFAULT_MATRIX,
    slices: tuple[int, int] = DEFAULT_SLICES,
) -> Scan:
    """Synthesize a chest CT with the anatomy, acquisition and regions that a writer needs."""
    entropy = seed if isinstance(seed, tuple) else (seed,)

    def stream(kind: int, *which: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence((*entropy, kind, *which)))

    anatomy = draw_anatomy(stream(_ANATOMY))
    acquisition = draw_acquisition(
        anatomy, stream(_ACQUISITION, visit), matrix=matrix, slices=slices
    )
    findings = draw_findings(kind, anatomy, stream(_FINDINGS, visit))
    hu, regions = render(anatomy, findings, acquisition, stream(_TISSUE), stream(_NOISE, visit))
    h, w = hu.shape[1:]
    dy, dx = acquisition.spacing_mm[1:]
    volume = Volume(
        hu=hu,
        spacing_mm=acquisition.spacing_mm,
        origin_mm=(-(w - 1) / 2 * dx, -(h - 1) / 2 * dy, acquisition.bottom_mm),
    )
    return Scan(volume, anatomy, acquisition, regions)
