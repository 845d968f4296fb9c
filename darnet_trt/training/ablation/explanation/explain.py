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

from darnet_trt.errors import ScanError, UsageError
from darnet_trt.evaluation.pictures import shortcut_note
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
from darnet_trt.training.ablation.explanation.networks import (
    Explained,
    trained_all,
    trained_by_patient,
    unseen,
)
from darnet_trt.training.ablation.explanation.regions import on_input
from darnet_trt.training.model import Attention

MAPS: Final = "maps.png"
SCORES: Final = "lesions.csv"
CASES: Final = 3  # as in the paper's figure: mild, moderate, severe


RegionsOf = Callable[[Entry], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Explanation:
    """What was written.

    Attributes:
        pictures: Names of the files.
        texts: Names of scans and classes in them.
        scored: Phantoms with lesions that the scores are means of.
        scores: Of each network; empty without known lesions.
    """

    pictures: tuple[str, ...]
    texts: tuple[str, ...]
    scored: int
    scores: dict[str, LesionScore]


@dataclass(frozen=True, eq=False)
class _Case:
    """A scan, and what each network made of it."""

    entry: Entry
    row: Row
    seen: dict[str, Seen]


@dataclass(frozen=True, eq=False)
class Examined:
    """The scans that the networks were shown.

    Attributes:
        cases: What became of them.
        failures: Why others could not be used.
        known: Scans that turned out to have trained a network, with the reason.
    """

    cases: tuple[_Case, ...]
    failures: tuple[ScanError | UsageError, ...]
    known: tuple[str, ...]


class _Known(Exception):  # noqa: N818 (no error: the scan is left out)
    """The scan trained one of the networks."""


def examine(
    networks: Sequence[Explained],
    cohort: Cohort,
    entries: Sequence[Entry],
    wanted: int,
    *,
    regions_of: RegionsOf | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> Examined:
    """Show scans to the networks until `wanted` of them could be used.

    Args:
        networks: From `networks_of`.
        cohort: With the networks' classes.
        entries: From `entries_of`, in the order to try them.
        wanted: How many to use.
        regions_of: Gives a phantom's lungs (1) and lesions (2), uint8 on the scan's own grid.
        done: Called after each scan with how many of the `wanted` are done since the last call: 0
            where the next scan takes the place of this one.
    """
    looks = {
        n.name: partial(look, n.checkpoint.model(), n.checkpoint.temperature) for n in networks
    }
    cases: list[_Case] = []
    failures: list[ScanError | UsageError] = []
    known: list[str] = []
    left = wanted
    for tried, entry in enumerate(entries, 1):
        if len(cases) == wanted:
            break
        try:
            cases.append(_case(entry, networks, looks, cohort, regions_of))
        except _Known as reason:
            known.append(f"{cohort.name(entry)}: {reason}")
        except (ScanError, UsageError) as error:
            failures.append(error)
        before, left = left, min(wanted - len(cases), len(entries) - tried)
        done(before - left)
    return Examined(tuple(cases), tuple(failures), tuple(known))


def draw(
    networks: Sequence[Explained],
    cohort: Cohort,
    examined: Examined,
    out: Path,
    *,
    scans: Sequence[str] = (),
) -> Explanation:
    """Write the figure of the maps, the gates of each scan in it, and the scores of the lesions.

    The scores are means over all scans with known lesions that were examined.

    Args:
        networks: From `networks_of`.
        cohort: With the networks' classes.
        examined: From `examine`.
        out: Folder to write into.
        scans: Names of the figure's scans, as the cohort's table has them. By default three of the
            positive class: with known lesions those with the least, the middle and the most.

    Raises:
        UsageError: No scan is left for the figure.
        OutputError: `out` cannot be written.
    """
    shown = _shown(examined.cases, cohort, scans)
    if not shown:
        raise _nothing_to_show(examined, cohort, scans)
    note = shortcut_note({code for n in networks for code in n.checkpoint.shortcuts})
    with whole_file(out / MAPS) as file:
        page = draw_maps([case.row for case in shown], [n.name for n in networks], note)
        page.save(file, "PNG")
    pictures = [MAPS]
    for number, case in enumerate(shown, 1):
        gates = {name: seen.gates for name, seen in case.seen.items() if seen.gates}
        if gates:
            regions = case.row.regions
            area = None if regions is None else regions.lesions.mean((1, 2))
            pictures.append(f"gates-{number}.png")
            with whole_file(out / pictures[-1]) as file:
                file.write(draw_gates(case.row.name, len(case.row.volume), gates, area, note))
    ill = [
        case
        for case in examined.cases
        if case.row.regions is not None and (case.row.regions.lesions > 0.5).any()
    ]
    scores: dict[str, LesionScore] = {}
    if ill:
        each = {n.name: [_score(case, n.name, cohort) for case in ill] for n in networks}
        scores = {name: mean_score(of_network) for name, of_network in each.items()}
        _write(out / SCORES, ill, {n.attention: each[n.name] for n in networks})
    texts = tuple(text for case in shown for text in (case.row.name, case.row.label))
    return Explanation(tuple(pictures), texts, len(ill), scores)


def _nothing_to_show(examined: Examined, cohort: Cohort, scans: Sequence[str]) -> UsageError:
    """Return the error where no scan of the figure could be used."""
    if examined.failures:
        return UsageError(
            "no scan for the figure can be used",
            where=cohort.table,
            do="mend those that were left out, or name others with --scan",
        )
    if scans:
        return trained_all("scan that is named", cohort)
    return _positive_trained(cohort)


def _positive_trained(cohort: Cohort) -> UsageError:
    """Return the error where all scans of the positive class trained a network."""
    what = f"scan of the class {cohort.classes[0]}"
    return trained_all(what, cohort, ", or name scans of other classes with --scan")


def entries_of(
    networks: Sequence[Explained], cohort: Cohort, scans: Sequence[str], *, every: bool
) -> tuple[tuple[Entry, ...], int]:
    """Return the scans to try, and how many of them to use.

    Args:
        networks: From `networks_of`.
        cohort: With the networks' classes.
        scans: Names of the figure's scans; empty: three of the positive class.
        every: Use every scan, to score them; else only those of the figure.

    Raises:
        UsageError: No scan is left, one that is named is not there, or a run does not say which
            patients trained it.
    """
    left = unseen(networks, cohort)
    if scans:
        named = {cohort.name(entry): entry for entry in cohort.entries}
        if strangers := [scan for scan in scans if scan not in named]:
            raise UsageError(
                f"names no scan {strangers[0]}", where=cohort.table, do="name one as it does"
            )
        asked = tuple(dict.fromkeys(named[scan] for scan in scans))
        return asked, len(asked)
    if not left:
        raise trained_all("patient of this cohort", cohort)
    label = cohort.classes[0]
    positive = tuple(entry for entry in left if entry.label == label)
    if not any(entry.label == label for entry in cohort.entries):
        raise UsageError(
            f"has no scan of the class {label}", where=cohort.table, do="name scans with --scan"
        )
    if not positive:
        raise _positive_trained(cohort)
    return (left, len(left)) if every else (positive, min(CASES, len(positive)))


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
        UsageError: There is no such path, or its lesions are not known.
        _Known: It trained one of the networks.
    """
    if trained_by_patient(networks, cohort, entry):
        raise _Known("its patient trained a network")
    spec = networks[0].checkpoint.preprocessing
    study = study_of(entry)
    choice, loaded = load_study(study, spec, identify=True)
    who = identity(cohort, entry.patient, patient_id_of(study, choice), loaded.hashes)
    if any(network.was_trained_by(who) for network in networks):
        raise _Known("it, or another scan of its patient, trained a network under another name")
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
    return _Case(entry, row, seen)


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


def _write(path: Path, cases: Sequence[_Case], each: dict[Attention, list[LesionScore]]) -> None:
    """Write a line for each scan and network."""
    columns = ("energy_in_lungs", "energy_in_lesions", "lesions_of_lungs", "hottest_touches")
    with whole_text(path) as text:
        rows = csv.writer(text)
        stages = (f"gates_stage_{number + 1}" for number in range(STAGES))
        rows.writerow(("scan", "label", "attention", *columns, "by_chance", *stages))
        for index, case in enumerate(cases):
            for attention, scores in each.items():
                score = scores[index]
                numbers = [getattr(score, name) for name in (*columns, "by_chance")]
                numbers += score.gates or [np.nan] * STAGES
                shown = ("" if np.isnan(n) else f"{n:.6f}" for n in numbers)
                rows.writerow((case.row.name, case.entry.label, attention, *shown))
