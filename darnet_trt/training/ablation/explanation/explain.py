"""Explain trained networks on scans that they have not seen."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import DarnetError, ScanError, UsageError
from darnet_trt.evaluation.seen import identity, patient_id_of
from darnet_trt.machine.files import whole_file, whole_text
from darnet_trt.scan import load_study
from darnet_trt.scan.cohorts import Cohort, Entry, study_of
from darnet_trt.training.ablation.explanation.gate_curves import draw_gates
from darnet_trt.training.ablation.explanation.gates import Seen, look
from darnet_trt.training.ablation.explanation.lesions import (
    STAGES,
    LesionScore,
    mean_score,
    score_lesions,
)
from darnet_trt.training.ablation.explanation.maps import Row, draw_maps
from darnet_trt.training.ablation.explanation.networks import Explained, unseen
from darnet_trt.training.ablation.explanation.regions import on_input

MAPS: Final = "maps.png"
SCORES: Final = "lesions.csv"
CASES: Final = 3  # as in the paper's figure: mild, moderate, severe


RegionsOf = Callable[[Entry], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Explanation:
    """What was written.

    Attributes:
        pictures: Names of the files.
        scored: Phantoms with lesions that the scores are means of.
        scores: Of each network; empty without known lesions.
        failures: Scans that could not be read, or turned out to have trained a network.
    """

    pictures: tuple[str, ...]
    scored: int
    scores: dict[str, LesionScore]
    failures: tuple[DarnetError, ...]


@dataclass(frozen=True, eq=False)
class _Case:
    """A scan, and what each network made of it."""

    entry: Entry
    name: str
    row: Row
    seen: dict[str, Seen]


def explain(
    networks: Sequence[Explained],
    cohort: Cohort,
    out: Path,
    *,
    scans: Sequence[str] = (),
    regions_of: RegionsOf | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Explanation:
    """Write the figure of the maps, the gates of each scan in it, and the scores of the lesions.

    The scores are means over all scans with known lesions that none of the networks was trained
    on. Without such scans only the scans of the figure are read.

    Args:
        networks: From `networks_of`.
        cohort: With the networks' classes.
        out: Folder to write into.
        scans: Names of the figure's scans, as the cohort's table has them. By default three of the
            positive class: with known lesions those with the least, the middle and the most.
        regions_of: Gives a phantom's lungs (1) and lesions (2), uint8 on the scan's own grid.
        done: Called with the number of scans finished since the last call.

    Raises:
        UsageError: No scan is left, or one that is named is not there.
        OutputError: `out` cannot be written.
    """
    looks = {
        n.name: partial(look, n.checkpoint.model(), n.checkpoint.temperature) for n in networks
    }
    failures: list[DarnetError] = []
    cases: list[_Case] = []
    for entry in entries_of(networks, cohort, scans, every=regions_of is not None):
        try:
            cases.append(_case(entry, networks, looks, cohort, regions_of))
        except (ScanError, UsageError) as error:
            failures.append(error)
        done(1)
    shown = _shown(cases, cohort, scans)
    if not shown:
        raise UsageError(
            "no scan for the figure can be read",
            where=cohort.table,
            do="darnet-trt inspect says why; or name others with --scan",
        )
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / MAPS) as file:
        draw_maps([case.row for case in shown], [n.name for n in networks]).save(file, "PNG")
    pictures = [MAPS]
    for number, case in enumerate(shown, 1):
        gates = {name: seen.gates for name, seen in case.seen.items() if seen.gates}
        if gates:
            regions = case.row.regions
            area = None if regions is None else regions.lesions.mean((1, 2))
            pictures.append(f"gates-{number}.png")
            with whole_file(out / pictures[-1]) as file:
                file.write(draw_gates(case.name, len(case.row.volume), gates, area))
    ill = [c for c in cases if c.row.regions is not None and (c.row.regions.lesions > 0.5).any()]
    scores: dict[str, LesionScore] = {}
    if ill:
        each = {n.name: [_score(case, n.name, cohort) for case in ill] for n in networks}
        scores = {name: mean_score(of_network) for name, of_network in each.items()}
        _write(out / SCORES, ill, each)
    return Explanation(tuple(pictures), len(ill), scores, tuple(failures))


def entries_of(
    networks: Sequence[Explained], cohort: Cohort, scans: Sequence[str], *, every: bool
) -> tuple[Entry, ...]:
    """Return the scans to read: `every` one that can be scored, else those of the figure."""
    left = unseen(tuple(networks), cohort)
    if scans:
        named = {cohort.name(entry): entry for entry in left}
        if strangers := [scan for scan in scans if scan not in named]:
            raise UsageError(
                f"{strangers[0]} is none of the scans that the networks have not seen",
                where=cohort.table,
                do="name a scan as the table does, of a patient who was held out",
            )
        return tuple(named[scan] for scan in scans)
    if every:
        return left
    return tuple(e for e in left if e.label == cohort.classes[0])[:CASES]


def _case(
    entry: Entry,
    networks: Sequence[Explained],
    looks: Mapping[str, Callable[[npt.NDArray[np.float32]], Seen]],
    cohort: Cohort,
    regions_of: RegionsOf | None,
) -> _Case:
    """Read a scan and show it to the networks.

    Raises:
        ScanError: It cannot be used.
        UsageError: There is no such path, or the scan trained one of the networks.
    """
    spec = networks[0].checkpoint.preprocessing
    study = study_of(entry)
    choice, loaded = load_study(study, spec, identify=True)
    who = identity(cohort, entry.patient, patient_id_of(study, choice), loaded.hashes)
    if any(network.was_trained_by(who) for network in networks):
        raise UsageError(
            "it, or another scan of its patient, trained a network under another name",
            where=entry.scan,
        )
    regions = None if regions_of is None else on_input(regions_of(entry), spec, loaded)
    seen = {name: look(loaded.array) for name, look in looks.items()}
    label = cohort.classes.index(entry.label)
    row = Row(
        cohort.name(entry),
        entry.label,
        loaded.array[0],
        tuple(of_network.cam[label] for of_network in seen.values()),
        tuple(float(of_network.probabilities[label]) for of_network in seen.values()),
        regions,
    )
    return _Case(entry, row.name, row, seen)


def _shown(cases: Sequence[_Case], cohort: Cohort, scans: Sequence[str]) -> list[_Case]:
    """Return the figure's scans."""
    if scans:
        return list(cases)
    positive = [case for case in cases if case.entry.label == cohort.classes[0]]
    if any(case.row.regions for case in positive):
        positive.sort(key=_severity)
    places = np.linspace(0, len(positive) - 1, min(CASES, len(positive))).round().astype(int)
    return [positive[place] for place in places]


def _severity(case: _Case) -> float:
    regions = case.row.regions
    assert regions is not None
    return float(regions.lesions.sum() / regions.lungs.sum())


def _score(case: _Case, network: str, cohort: Cohort) -> LesionScore:
    assert case.row.regions is not None
    seen = case.seen[network]
    cam = seen.cam[cohort.classes.index(case.entry.label)]
    return score_lesions(cam, seen.gates, case.row.regions)


def _write(path: Path, cases: Sequence[_Case], each: dict[str, list[LesionScore]]) -> None:
    """Write a line for each scan and network."""
    columns = ("energy_in_lungs", "energy_in_lesions", "lesions_of_lungs", "hottest_touches")
    with whole_text(path) as text:
        rows = csv.writer(text)
        stages = (f"gates_stage_{number + 1}" for number in range(STAGES))
        rows.writerow(("scan", "label", "attention", *columns, "by_chance", *stages))
        for index, case in enumerate(cases):
            for network, scores in each.items():
                score = scores[index]
                numbers = [getattr(score, name) for name in (*columns, "by_chance")]
                numbers += score.gates or [np.nan] * STAGES
                shown = ("" if np.isnan(n) else f"{n:.6f}" for n in numbers)
                rows.writerow((case.name, case.entry.label, network, *shown))
