"""Objects read with plain pydicom and with highdicom's own readers, as a stranger would."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Field:
    """Values at places in the patient.

    Attributes:
        values: (n).
        places: (n, 3), x, y, z in mm.
        steps_mm: Distance of frames, rows and columns.
    """

    values: Array
    places: Array
    steps_mm: Array

    @property
    def hottest(self) -> Array:
        """The place of the largest value."""
        return self.places[self.values.argmax()]

    @property
    def centre(self) -> Array:
        """The mean place, weighted by the values."""
        return np.average(self.places, axis=0, weights=self.values)


def map_by_pydicom(file: Path) -> Field:
    """Read a Parametric Map by its functional groups, frame by frame (PS3.3 C.7.6.16)."""
    ds = dcmread(file)
    (shared,) = ds.SharedFunctionalGroupsSequence
    frames = ds.pixel_array.reshape(ds.NumberOfFrames, ds.Rows, ds.Columns)
    values, places, origins = [], [], []
    for own, stored in zip(ds.PerFrameFunctionalGroupsSequence, frames, strict=True):
        measures, orientation, position, real = (
            (own if sequence in own else shared)[sequence][0]
            for sequence in (
                "PixelMeasuresSequence",
                "PlaneOrientationSequence",
                "PlanePositionSequence",
                "RealWorldValueMappingSequence",
            )
        )
        along_row, along_column = np.array(orientation.ImageOrientationPatient).reshape(2, 3)
        between_rows, between_columns = map(float, measures.PixelSpacing)
        rows, columns = np.mgrid[: ds.Rows, : ds.Columns][..., None]
        origin = np.array(position.ImagePositionPatient, float)
        at = origin + columns * between_columns * along_row + rows * between_rows * along_column
        values.append(stored * real.RealWorldValueSlope + real.RealWorldValueIntercept)
        places.append(at.reshape(-1, 3))
        origins.append(origin)
    apart = np.linalg.norm(np.diff(origins, axis=0), axis=1)
    assert np.allclose(apart, apart[0], rtol=1e-3)
    steps = np.array([apart[0], between_rows, between_columns])
    return Field(np.ravel(values), np.concatenate(places), steps)


def map_by_highdicom(file: Path) -> Field:
    """Read a Parametric Map as a volume of real-world values."""
    volume = hd.imread(file).get_volume(apply_real_world_transform=True)
    indices = np.indices(volume.spatial_shape).reshape(3, -1)
    places = (volume.affine @ np.vstack([indices, np.ones(indices.shape[1])]))[:3].T
    return Field(volume.array.ravel(), places, np.array(volume.spacing))


def code(concept: Dataset) -> tuple[str, str]:
    """Return the value and the scheme of a code, long or short (PS3.3 8.1)."""
    value = concept.get("CodeValue") or concept.get("LongCodeValue") or concept.URNCodeValue
    return value, concept.CodingSchemeDesignator


def items(parent: Dataset, *name: str) -> list[Dataset]:
    """Return the content items right below another one whose concept name is a code."""
    return [
        item
        for item in parent.get("ContentSequence", [])
        if "ConceptNameCodeSequence" in item and code(item.ConceptNameCodeSequence[0]) == name
    ]


def everything(ds: Dataset) -> Iterator[tuple[str, Any]]:
    """Yield keyword and value of every attribute, at every depth."""
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                yield from everything(item)
        else:
            yield element.keyword, element.value


def references(ds: Dataset) -> Iterator[Dataset]:
    """Yield every item that refers to an instance, at every depth."""
    for element in ds:
        for item in element.value if element.VR == "SQ" else ():
            if "ReferencedSOPInstanceUID" in item:
                yield item
            yield from references(item)


def probabilities_by_pydicom(file: Path) -> dict[tuple[str, str], float]:
    """Return each group's finding and its probability."""
    (measured,) = items(dcmread(file), "126010", "DCM")
    found = {}
    for group in items(measured, "125007", "DCM"):
        (finding,) = items(group, "121071", "DCM")
        (number,) = items(group, "122157", "DCM")
        value = number.MeasuredValueSequence[0]
        assert code(value.MeasurementUnitsCodeSequence[0]) == ("1", "UCUM")
        found[code(finding.ConceptCodeSequence[0])] = float(value.NumericValue)
    return found


def probabilities_by_highdicom(file: Path) -> dict[tuple[str, str], float]:
    """Return the same by highdicom's templates."""
    report = hd.sr.srread(file)
    assert isinstance(report, hd.sr.Comprehensive3DSR)
    found = {}
    for group in report.content.get_image_measurement_groups():
        (number,) = group.get_measurements()
        assert number.name.value == "122157"
        finding = group.finding_type
        found[finding.value, finding.scheme_designator] = number.value
    return found
