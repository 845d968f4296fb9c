"""The paper's Tables 2 and 3, with its own numbers beside ours, and the variants in pairs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from darnet_trt.training.ablation.differences import CORRECTED, Difference, winners
from darnet_trt.training.ablation.paper import (
    MEASURES,
    OTHERS,
    PARAMETERS_M,
    TABLE_3,
    TEST_SCANS,
    VARIANTS,
)
from darnet_trt.training.ablation.scored import Side
from darnet_trt.training.ablation.scores import Score
from darnet_trt.training.model import Attention

Scores = Mapping[Attention, Mapping[str, Score]]


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes:
        title: One line.
        titles: Of the columns.
        rows: As long as `titles`.
        notes: Lines below it.
    """

    title: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def table_2(scores: Scores, scans: int, side: str, positive: str) -> Table:
    """Compare the plain network and the paper's with what the paper says of both and of others.

    Args:
        scores: Of one side.
        scans: How many that side has.
        side: "test" or "held-out".
        positive: The class that the measures tell from the rest.
    """
    shown: tuple[Attention, ...] = ("none", "both")
    counts = (str(scans), str(scans), str(TEST_SCANS), *(f"{n}" for n, _ in OTHERS.values()))
    rows = [("Scans", *counts, str(TEST_SCANS))]
    for measure, name in MEASURES.items():
        others = (f"{v:.4f}" if (v := row.get(measure)) else "-" for _, row in OTHERS.values())
        rows.append(
            (
                name,
                *(_pair(scores[v][measure].mean, scores[v][measure].over_folds) for v in shown),
                _pair(*TABLE_3["none"][measure]),
                *others,
                _pair(*TABLE_3["both"][measure]),
            )
        )
    paper = ("ResNet18", *OTHERS, "Ours")
    return Table(
        f"Table 2: {positive} against the rest, {_sides(side)}",
        ("", *(VARIANTS[v] for v in shown), *(f"paper: {name}" for name in paper)),
        tuple(rows),
    )


def table_3(scores: Scores, parameters: Mapping[Attention, int], side: str, positive: str) -> Table:
    """Compare the four networks, beside the paper's numbers.

    Args:
        scores: Of one side.
        parameters: Of each network.
        side: "test" or "held-out".
        positive: The class that the measures tell from the rest.
    """
    rows = [
        (name, *((yes if v in with_it else "×") for v in [*VARIANTS, *VARIANTS]))
        for name, with_it, yes in (
            ("DA", ("depth", "both"), "√"),
            ("CA", ("channel", "both"), "√"),
        )
    ]
    for measure, name in MEASURES.items():
        ours = (_pair(scores[v][measure].mean, scores[v][measure].over_folds) for v in VARIANTS)
        rows.append((name, *ours, *(_pair(*TABLE_3[v][measure]) for v in VARIANTS)))
    rows.append(
        (
            "Parameters",
            *(f"{parameters[v]:,}" for v in VARIANTS),
            *(f"{PARAMETERS_M[v]:.2f}M" for v in VARIANTS),
        )
    )
    return Table(
        f"Table 3: the four networks, {positive} against the rest, {_sides(side)}",
        ("", *VARIANTS.values(), *(f"paper: {name}" for name in VARIANTS.values())),
        tuple(rows),
        (
            "The paper prints the parameters of its last two networks in each other's column. "
            "Its text (+6.3 %) agrees with the order here.",
        ),
    )


def seeds_table(scores: Scores, seeds: int) -> Table:
    """Show how far the means over the folds lie apart between seeds."""
    rows = (
        (name, *(_number(scores[v][measure].over_seeds) for v in VARIANTS))
        for measure, name in MEASURES.items()
    )
    return Table(
        f"Spread over {seeds} seeds: standard deviation of the means over folds",
        ("", *VARIANTS.values()),
        tuple(rows),
    )


def differences_table(found: Sequence[Difference]) -> Table:
    """Compare the variants in pairs."""
    rows = (
        (
            *(MEASURES[d.measure], f"{VARIANTS[d.second]} − {VARIANTS[d.first]}", _signed(d.value)),
            *(_ends(d.over_patients), _number(d.over_seeds), _ends(d.corrected)),
            VARIANTS[d.winner] if d.winner else "-",
        )
        for d in found
    )
    return Table(
        "Differences between the networks, on the same scans",
        (
            *("", "pair", "difference", "95 % interval over patients", "spread over seeds"),
            *(f"{100 * CORRECTED:.1f} % interval, patients and seeds", "winner"),
        ),
        tuple(rows),
        (
            "The last interval allows for six pairs of each measure. With one seed it is over "
            "patients alone, and no winner is named.",
            *_undefined(found),
            *winners(found),
        ),
    )


def _undefined(found: Sequence[Difference]) -> list[str]:
    if any(math.isnan(d.corrected[0]) for d in found):
        why = "the measure has no value, or no draw of the patients changes the difference"
        return [f"-: no interval, since {why}."]
    return []


def as_markdown(tables: Iterable[Table], about: Iterable[str]) -> str:
    """Return the page of the tables."""
    parts = ["# Ablation\n", *(f"{line}\n" for line in about)]
    for table in tables:
        lines = [
            f"## {table.title}\n",
            _line(table.titles),
            _line(["---"] * len(table.titles)),
            *map(_line, table.rows),
            "",
            *(f"{note}\n" for note in table.notes),
        ]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_csv(scores: Mapping[Side, Scores], parameters: Mapping[Attention, int]) -> str:
    """Return a line for each measure of each network: ours by side, and the paper's."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ("source", "side", "attention", "measure", "mean", "std_over_folds", "std_over_seeds")
    )
    for side, of_side in scores.items():
        for variant, row in of_side.items():
            for measure, s in row.items():
                numbers = map(_plain, (s.mean, s.over_folds, s.over_seeds))
                rows.writerow(("here", side, variant, measure, *numbers))
    for variant, count in parameters.items():
        rows.writerow(("here", "", variant, "parameters", count, "", ""))
    for variant, published in TABLE_3.items():
        for measure, (mean, std) in published.items():
            rows.writerow(("paper", "test", variant, measure, mean, std, ""))
    for variant, millions in PARAMETERS_M.items():
        rows.writerow(("paper", "", variant, "parameters", round(millions * 1e6), "", ""))
    return text.getvalue()


def _sides(side: str) -> str:
    return "on the test cohort" if side == "test" else "each network on the fold it did not see"


def _pair(mean: float, std: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.4f}" if math.isnan(std) else f"{mean:.4f} ± {std:.4f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.4f}"


def _ends(interval: tuple[float, float]) -> str:
    return "-" if math.isnan(interval[0]) else f"{interval[0]:+.4f} … {interval[1]:+.4f}"


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6f}"
