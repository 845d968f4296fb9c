"""Studies as the stream finds them: listed, examined, put into units, gathered."""

import pickle
from pathlib import Path

from darnet_trt.scan import Study
from darnet_trt.scan.discovery import (
    Counts,
    FoundStudy,
    Gathered,
    Place,
    Unit,
    Units,
    examine,
    gather,
    listings,
)


def units_of(path: Path) -> list[Unit]:
    units, complete = Units(), []
    for listing in listings(Place.given(path)):
        complete += units.add(listing, examine(listing))
    return complete + units.end()


def streamed(path: Path) -> Gathered:
    gathered = [gather(unit.examined) for unit in units_of(path)]
    studies = tuple(study for one in gathered for study in one.studies)
    return Gathered(studies, sum((one.counts for one in gathered), Counts()))


def found(path: Path) -> tuple[FoundStudy, ...]:
    return streamed(path).studies


def study_of(found: FoundStudy) -> Study:
    study: Study = pickle.loads(found.pickled)
    return study


def usable(found: FoundStudy) -> bool:
    """Return whether a series of it can be classified, by its headers."""
    return any(series.verdict.usable for series in study_of(found).series)
