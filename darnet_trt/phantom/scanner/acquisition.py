"""The acquisition of a scan: grid, pose, kernel, calibration. None depends on a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from darnet_trt.phantom.body.anatomy import Anatomy

PatientPosition = Literal["HFS", "FFS", "HFP", "FFP"]
# (0018,5100); most chests are scanned supine.
PATIENT_POSITIONS: dict[PatientPosition, float] = {"HFS": 0.5, "FFS": 0.3, "HFP": 0.1, "FFP": 0.1}

SHORTEST_MM, LONGEST_MM = 225.0, 378.0  # what chest protocols cover
THICKEST_MM = 10.0


@dataclass(frozen=True)
class Acquisition:
    """One scan of a person.

    Attributes:
        shape: (d, h, w).
        spacing_mm: Along d, h, w.
        bottom_mm: z of the lowest slice's centre.
        shift_mm: Where the body's centre lies in the field of view, x and y.
        drift: Shift along x and y for each mm of z: the body lies a little askew.
        rotation: About the long axis, radians.
        position: (0018,5100); prone lungs are dense in front.
        noise_hu: Standard deviation; sharpness of the kernel 0…1.
        offset_hu: Error of the calibration.
        flips: Whether the columns, rows and slices are stored in descending order.
        circular: Whether the corners outside the reconstruction circle are blank.
        mattress: Thickness in mm and HU of the pad between patient and table.
        blanket: Thickness in mm and HU of a cover over the patient; thickness 0 for none.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    bottom_mm: float
    shift_mm: tuple[float, float]
    drift: tuple[float, float]
    rotation: float
    position: PatientPosition
    noise_hu: float
    sharpness: float
    offset_hu: float
    flips: tuple[bool, bool, bool]
    circular: bool
    mattress: tuple[float, float]
    blanket: tuple[float, float]

    @property
    def prone(self) -> bool:
        """Lying on the belly."""
        return self.position.endswith("P")


def draw_acquisition(
    anatomy: Anatomy,
    rng: np.random.Generator,
    *,
    matrix: int,
    slices: tuple[int, int],
) -> Acquisition:
    """Draw a scan that covers the whole lung of this person.

    Args:
        anatomy: Whose.
        rng: Where the choices come from.
        matrix: Rows and columns.
        slices: Fewest and most slices.
    """
    below, above = rng.uniform(8, 40), rng.uniform(8, 30)
    low, high = slices
    # Logarithmic: thick slices are as common as thin ones.
    count = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    longest = min(LONGEST_MM, count * THICKEST_MM)
    coverage = float(np.clip(anatomy.lung_height + below + above, SHORTEST_MM, longest))
    below = min(below, 0.6 * (coverage - anatomy.lung_height))
    body = 2 * (anatomy.thorax[0] + anatomy.wall + anatomy.fat)
    field = body * rng.uniform(1.0, 1.18)
    positions = list(PATIENT_POSITIONS)
    position = positions[rng.choice(len(positions), p=list(PATIENT_POSITIONS.values()))]
    flips = rng.random(3) < (0.2, 0.2, 0.5)
    return Acquisition(
        shape=(count, matrix, matrix),
        spacing_mm=(round(coverage / count, 4), round(field / matrix, 6), round(field / matrix, 6)),
        bottom_mm=-below,
        shift_mm=(float(rng.normal(0, 6)), float(rng.normal(0, 6))),
        drift=(float(rng.normal(0, 0.03)), float(rng.normal(0, 0.03))),
        rotation=float(rng.normal(0, 0.04)),
        position=position,
        noise_hu=float(np.exp(rng.uniform(np.log(8), np.log(45)))),
        sharpness=float(rng.uniform(0, 1)),
        offset_hu=float(rng.normal(0, 8)),
        flips=(bool(flips[0]), bool(flips[1]), bool(flips[2])),
        circular=bool(rng.random() < 0.5),
        # Foam and cloth have the density of diseased lung, so no histogram separates the classes.
        mattress=(float(rng.uniform(6, 38)), float(rng.uniform(-930, -420))),
        blanket=(
            float(rng.uniform(4, 16)) if rng.random() < 0.5 else 0.0,
            float(rng.uniform(-900, -300)),
        ),
    )
