"""Draw what trained networks made of scans, and score it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.pictures import shortcut_note
from darnet_trt.machine.files import whole_file, whole_text
from darnet_trt.scan.cohorts import Cohort
from darnet_trt.training.ablation.explanation.choosing import CASES, positive_trained
from darnet_trt.training.ablation.explanation.examining import Case, Examined
from darnet_trt.training.ablation.explanation.gate_curves import draw_gates
from darnet_trt.training.ablation.explanation.lesions import (
    STAGES,
    LesionScore,
    mean_score,
    score_lesions,
)
from darnet_trt.training.ablation.explanation.maps import draw_maps
from darnet_trt.training.ablation.explanation.networks import Explained, trained_all
from darnet_trt.training.model import Attention

MAPS: Final = "maps.png"
SCORES: Final = "lesions.csv"


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
    return positive_trained(cohort)


def _shown(cases: Sequence[Case], cohort: Cohort, scans: Sequence[str]) -> list[Case]:
    """Return the figure's scans."""
    if scans:
        return list(cases)
    positive = [case for case in cases if case.entry.label == cohort.classes[0]]
    if any(case.row.regions for case in positive):
        positive.sort(key=_severity)
    places = np.linspace(0, len(positive) - 1, min(CASES, len(positive))).round().astype(int)
    return [positive[place] for place in places]


def _severity(case: Case) -> float:
    regions = case.row.regions
    assert regions is not None
    return float(regions.lesions.sum() / regions.lungs.sum())


def _score(case: Case, network: str, cohort: Cohort) -> LesionScore:
    assert case.row.regions is not None
    seen = case.seen[network]
    cam = seen.cam[cohort.classes.index(case.entry.label)]
    return score_lesions(cam, seen.gates, case.row.regions)


def _write(path: Path, cases: Sequence[Case], each: dict[Attention, list[LesionScore]]) -> None:
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
