"""The class activation map over the slices with most evidence, as one PNG.

The map is in units of the logits (a class's logit is its map's mean plus a bias), so the colour
bar reads as evidence for the class. Evidence against it, and weak evidence, is not drawn.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from darnet_trt.errors import Finding, one_line
from darnet_trt.evaluation.evidence import blend, grown
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.names import result_name, scan_name
from darnet_trt.runtime.prediction.results.result import (
    PHANTOMS_ONLY,
    SHORTCUT,
    UNLIKE,
    Evidence,
    Result,
    percentages,
    undecided,
)
from darnet_trt.scan.discovery import OVERLAY_SUFFIX

Float = npt.NDArray[np.float32]

COLUMNS: Final = 4
MAX_ROWS: Final = 2
TILE: Final = 280  # pixels; the paper's 224 grown a little, so that the letters fit beside lungs
GAP: Final = 6
HEADER: Final = 84
FOOTER: Final = 34
BAR: Final = 96

# What Pillow and numpy raise for a page that cannot be drawn: a size, a text, the memory.
_UNDRAWABLE: Final = (ValueError, TypeError, IndexError, OverflowError, MemoryError, OSError)

# Codes of warnings that the pixels contradict left and right of the header.
_SIDES_DOUBTED: Final = ("axes-exchanged", "mirrored", "turned-round", "all-reversed")

_INK: Final = (232, 232, 232)
_DIM: Final = (160, 160, 160)
_PAPER: Final = (16, 16, 18)


def telling_slices(evidence: Float, count: int) -> list[int]:
    """Return the slices with most positive evidence, foot to head, no two side by side.

    Args:
        evidence: (d, h, w), positive where it is for the class.
        count: How many; spread evenly where nothing is positive.
    """
    depth = evidence.shape[0]
    mass = evidence.clip(0).sum((1, 2))
    apart = max(depth // (2 * count), 1)
    chosen: list[int] = []
    left = np.where(mass > 0, mass, -1.0)
    while len(chosen) < count and left.max() > 0:
        best = int(left.argmax())
        chosen.append(best)
        left[max(best - apart, 0) : best + apart + 1] = -1.0
    if not chosen:
        chosen = np.linspace(0, depth - 1, count + 2).round().astype(int)[1:-1].tolist()
    return sorted(set(chosen))


def draw_overlay(result: Result, evidence: Evidence) -> Image.Image:
    """Draw the montage for a result with status "ok"."""
    classes = list(result.probabilities)
    cam = evidence.cam[classes.index(result.predicted or "")]
    volume = evidence.volume
    evidence_at = grown(cam, volume.shape)
    peak = float(evidence_at.max())
    chosen = telling_slices(evidence_at, COLUMNS * MAX_ROWS)
    rows = -(-len(chosen) // COLUMNS)
    page = Image.new(
        "RGB",
        (COLUMNS * (TILE + GAP) + GAP + BAR, HEADER + rows * (TILE + GAP) + FOOTER),
        _PAPER,
    )
    pen = ImageDraw.Draw(page)
    sides = sides_known(result, evidence)
    _caption(pen, result, page.width)
    for place, index in enumerate(chosen):
        x = GAP + place % COLUMNS * (TILE + GAP)
        y = HEADER + place // COLUMNS * (TILE + GAP)
        share = evidence_at[index] / peak if peak > 0 else np.zeros_like(volume[index])
        tile = blend(volume[index], share)
        picture = Image.fromarray(tile).resize(
            _fitted(result, volume.shape), Image.Resampling.BICUBIC
        )
        page.paste(picture, (x + (TILE - picture.width) // 2, y + (TILE - picture.height) // 2))
        _write_over(pen, (x + 6, y + TILE - 8), _position(result, index, volume.shape[0]), "ls")
        if sides:  # d h w grow to Superior, Posterior, Left: right is on the left
            _write_over(pen, (x + 6, y + TILE // 2), "R", "lm")
            _write_over(pen, (x + TILE - 6, y + TILE // 2), "L", "rm")
    _colour_bar(page, pen, peak, rows * (TILE + GAP) - 80)
    side = "" if sides else "  Which side is left is not known."
    pen.text(
        (GAP + 2, page.height - FOOTER + 10),
        f"{result.intended_use}  Shows the network's input; not for diagnosis.{side}",
        _DIM,
        _font(14),
    )
    return page


def sides_known(result: Result, evidence: Evidence) -> bool:
    """Return whether the file says which side is left, and nothing speaks against it."""
    return evidence.oriented and not any(w.code in _SIDES_DOUBTED for w in result.warnings)


def with_overlay(result: Result, evidence: Evidence, folder: ResultFolder) -> Result:
    """Draw the montage into a PNG in the folder, and name it in the result.

    Where it cannot be drawn the result gets a warning instead.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        page = draw_overlay(result, evidence)
    except _UNDRAWABLE as error:
        why = one_line(str(error)) or type(error).__name__
        drawn = Finding("no-overlay", f"no overlay: it cannot be drawn ({why})")
        warnings = (*result.warnings, drawn)
        return result.model_copy(update={"warnings": warnings})
    name = result_name(result) + OVERLAY_SUFFIX
    with folder.whole_file(name) as file:
        page.save(file, "PNG", compress_level=4)
    return result.model_copy(update={"overlay": name})


def _fitted(result: Result, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return width and height of a tile's picture, in the patient's proportions."""
    height, width = 1.0, shape[2] / shape[1]
    if result.series and result.series.matrix and result.series.spacing_mm:
        rows, columns = result.series.matrix
        width = columns * result.series.spacing_mm[2] / (rows * result.series.spacing_mm[1])
    scale = TILE / max(height, width)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _position(result: Result, index: int, depth: int) -> str:
    """Return where the slice lies: millimetres from the lowest slice where spacing is known."""
    if result.series is None or result.series.spacing_mm is None:
        return f"slice {index + 1} of {depth}"
    sampled = result.series.sampled
    first, last = sampled.covered if sampled else (0, result.series.slices - 1)
    at = first + min(max((index + 0.5) * (last - first + 1) / depth - 0.5, 0), last - first)
    return f"+{at * result.series.spacing_mm[0]:.0f} mm"


def _caption(pen: ImageDraw.ImageDraw, result: Result, width: int) -> None:
    head, below = _verdict(result)
    series = result.series
    about = [name] if (name := scan_name(result.scan)) else []
    if series is not None:
        about.append(f"{series.description or 'series'}, {series.slices} slices")
    about.append(f"trained on {result.trained_on}")
    lines = (
        (10, 26, _INK, head),
        (44, 15, _DIM, below),
        (64, 13, _DIM, "   ".join(map(one_line, about))),
    )
    for y, size, ink, text in lines:
        font = _font(size)
        pen.text((GAP + 2, y), _shortened(pen, text, width - 2 * GAP, font), ink, font)


def _verdict(result: Result) -> tuple[str, str]:
    """Return the headline, and the line below it."""
    head, *others = percentages(result.probabilities)
    below = "   ".join(others)
    doubt = undecided(result.probabilities)
    if doubt:
        head, below = doubt, f"drawn: the evidence for {result.predicted}"
    codes = {warning.code for warning in result.warnings}
    if UNLIKE in codes:
        head, below = "unlike the training scans", f"do not rely on the class:  {head}   {below}"
    if PHANTOMS_ONLY in result.warnings:
        head = f"trained on phantoms only:  {head}"
    if SHORTCUT in codes:
        head = f"may not come from the lungs:  {head}"
    return head, below


def _write_over(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, anchor: str) -> None:
    """Write text that stays readable over any grey."""
    pen.text(at, text, _INK, _font(15), anchor=anchor, stroke_width=2, stroke_fill=_PAPER)


def _colour_bar(page: Image.Image, pen: ImageDraw.ImageDraw, peak: float, height: int) -> None:
    x, top = COLUMNS * (TILE + GAP) + 2 * GAP, HEADER + 40
    if peak <= 0:
        pen.multiline_text((x, top), "no evidence\nfor the class\nanywhere", _DIM, _font(13))
        return
    share = np.repeat(np.linspace(1, 0, height, dtype=np.float32)[:, None], 18, axis=1)
    page.paste(Image.fromarray(blend(np.full_like(share, 0.35), share)), (x, top))
    for part in (0.0, 0.5, 1.0):
        y = top + round((1 - part) * (height - 1))
        pen.line((x + 18, y, x + 22, y), _DIM)
        pen.text((x + 26, y), f"{part * peak:.3g}", _DIM, _font(13), anchor="lm")
    pen.multiline_text((x, top - 36), "evidence for\nthe class", _DIM, _font(12))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shortened(
    pen: ImageDraw.ImageDraw,
    text: str,
    width: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> str:
    if pen.textlength(text, font) <= width:
        return text
    while text and pen.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
