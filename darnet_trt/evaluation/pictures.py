"""Draw the ROC curves, the confusion matrix and the reliability diagram as PNG files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import MissingPackageError
from darnet_trt.evaluation.fonts import lettering
from darnet_trt.evaluation.measured import CALIBRATED, Measured
from darnet_trt.evaluation.metrics import BINS, log_odds, reliability, softmax

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES: Final = (6.0, 6.0)
_DPI: Final = 150
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which the colour-blind can tell apart; with more classes they come again."""
_WIDTH: Final = 2.2  # of a line, in points
_PIECE: Final = 7.0  # of a dashed line, in points
_LETTER: Final = re.compile(r"\\(?:x\w{2}|u\w{4}|U\w{8})|.", re.ASCII | re.DOTALL)
"""A letter, or what stands for one that no font has."""

Labels = npt.NDArray[np.int64]


def need_matplotlib() -> None:
    """Check before long work that pictures can be drawn.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingPackageError("matplotlib", extra="plots") from error


def shortcut_note(codes: Iterable[str]) -> str:
    """Return the line for below a picture about what gave the training cohort's classes away.

    Args:
        codes: A checkpoint's or a bundle's; empty where nothing was found: the line is empty too.
    """
    found = ", ".join(sorted(codes))
    if not found:
        return ""
    return f"Trained on a cohort that gives its classes away without the lungs: {found}."


def roc(
    logits: npt.NDArray[np.float32],
    labels: Labels,
    classes: Sequence[str],
    found: Mapping[str, Measured],
    note: str = "",
) -> bytes | None:
    """Draw each class against the rest, with its area; return None if only one class occurs.

    Args:
        logits: (n, classes).
        labels: (n,).
        classes: Their names.
        found: From `measured`.
        note: From `shortcut_note`.
    """
    odds = log_odds(logits)
    drawn = [c for c, name in enumerate(classes) if f"auc_{name}" in found]
    if not drawn:
        return None
    with lettering(classes) as written:
        figure = _figure(note)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        names = short_names([written(name) for name in classes])
        for place, c in enumerate(drawn):
            x, y = curve(odds[:, c], labels == c)
            label = f"{names[c]}: area {found[f'auc_{classes[c]}']}"
            axes.plot(x, y, **line_style(place, len(drawn)), label=label)
        limits = (-0.02, 1.02)
        axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=limits, ylim=limits)
        axes.set_title("ROC: each class against the rest")
        axes.set_box_aspect(1)
        axes.legend(loc="lower right", fontsize=9, handlelength=5)
        return png(figure)


def curve(
    scores: npt.NDArray[np.float32], positive: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the shares of negatives and positives at or above each score, from 0 to 1."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # equal ones at once
    hits = np.cumsum(positive[order])[ends]
    x, y = (ends + 1 - hits) / (~positive).sum(), hits / positive.sum()
    return np.append(0.0, x), np.append(0.0, y)


def confusion(
    logits: npt.NDArray[np.float32], labels: Labels, classes: Sequence[str], note: str = ""
) -> bytes:
    """Draw how many scans of each label came to each class, and which share of the label's.

    Args:
        logits: (n, classes).
        labels: (n,).
        classes: Their names.
        note: From `shortcut_note`.
    """
    counts = confusion_counts(logits, labels, len(classes))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with lettering(classes) as written:
        figure = _figure(note)
        axes = figure.add_subplot(title="Confusion: scans of each label by class")
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        names = short_names([written(name) for name in classes])
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="class given by the network", ylabel="label")
        for row, column in np.ndindex(counts.shape):
            share = shares[row, column]
            axes.text(
                column,
                row,
                f"{counts[row, column]}\n{share:.0%}",
                ha="center",
                va="center",
                color="white" if share > 0.5 else "black",
                fontsize=12 if len(names) <= 4 else 8,
            )
        return png(figure)


def confusion_counts(
    logits: npt.NDArray[np.float32], labels: Labels, classes: int
) -> npt.NDArray[np.int64]:
    """Return the number of scans of each label (row) that came to each class (column)."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, logits.argmax(1)), 1)
    return counts


def reliability_diagram(
    logits: npt.NDArray[np.float32],
    labels: Labels,
    found: Mapping[str, Measured],
    temperature: float = 1.0,
    note: str = "",
) -> bytes:
    """Draw how often the likeliest class is right against its probability.

    Bars below show how many scans each bin has.

    Args:
        logits: (n, classes).
        labels: (n,).
        found: From `measured`.
        temperature: Unless 1, the calibrated probabilities are drawn beside the raw ones.
        note: From `shortcut_note`.
    """
    figure = _figure(note)
    axes, scans = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    series = [("raw", "", 1.0)]
    if temperature != 1:
        series.append((f"calibrated, temperature {temperature:.3g}", CALIBRATED, temperature))
    width = 1 / BINS / len(series)
    for index, (name, prefix, divisor) in enumerate(series):
        bins = list(reliability(softmax(logits / np.float32(divisor)), labels))
        style = line_style(index, len(series))
        label = f"{name}: calibration error {found[f'{prefix}calibration_error']}"
        x, y = [one.confidence for one in bins], [one.accuracy for one in bins]
        axes.plot(x, y, marker="o", **style, label=label, clip_on=False)
        left = [(np.ceil(at * BINS) - 1) / BINS + index * width for at in x]
        heights = [one.scans for one in bins]
        scans.bar(left, heights, width=width, align="edge", color=style["color"])
    axes.set(ylabel="share that is right", xlim=(0, 1), ylim=(-0.02, 1.02))
    axes.set_title("Reliability of the likeliest class")
    axes.legend(loc="best", fontsize=8, handlelength=5)
    scans.set(xlabel="probability of the likeliest class", ylabel="scans")
    return png(figure)


def _figure(note: str) -> Figure:
    # No pyplot: it keeps figures and looks for a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    if note:
        figure.supxlabel(in_lines(note), fontsize=9)
    return figure


def in_lines(note: str) -> str:
    """Return a note in lines that fit into a figure of 6 inches."""
    return textwrap.fill(note, 80, break_on_hyphens=False)


def line_style(index: int, count: int) -> dict[str, Any]:
    """Return how to draw one of `count` curves, in their order, so that equal ones are all seen.

    The first is whole. Each of the others has shorter dashes than the one that it lies over, so
    that a piece of every one of equal curves is in sight.
    """
    on, off = _PIECE * (count - index), _PIECE * index
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": (0, (on / _WIDTH, off / _WIDTH)) if index else "-",
        "linewidth": _WIDTH,
        "dash_capstyle": "butt",
    }


def short_names(names: Sequence[str]) -> list[str]:
    r"""Return names of at most 24 letters, more where two would be the same: these have numbers.

    An escape (\\u65b0) is kept whole. matplotlib takes $…$ for mathematics.
    """
    short = [_short(name) for name in names]
    return [f"{n} {one}" if short.count(one) > 1 else one for n, one in enumerate(short, 1)]


def _short(name: str) -> str:
    if len(name) > 24:
        letters = _LETTER.findall(name)
        end = "".join(reversed(_first(letters[::-1], 11)))
        name = f"{''.join(_first(letters, 12))}…{end}"
    return name.replace("$", r"\$")


def _first(letters: Sequence[str], most: int) -> list[str]:
    """Return the first letters whose text is no longer than that."""
    return [
        one for one, end in zip(letters, accumulate(map(len, letters)), strict=True) if end <= most
    ]


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
