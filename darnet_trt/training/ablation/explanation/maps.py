"""The paper's Figure 2: one slice of each scan, and the maps of the networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from darnet_trt.evaluation.evidence import FLOOR, blend, grown
from darnet_trt.evaluation.fonts import pillow_font
from darnet_trt.training.ablation.explanation.regions import Regions

Float = npt.NDArray[np.float32]

TILE: Final = 224
GAP: Final = 6
HEADER: Final = 34
CAPTION: Final = 22
_OUTLINE: Final = np.array((0, 230, 230), np.uint8)
_INK: Final = (232, 232, 232)
_PAPER: Final = (16, 16, 18)
_SIZE: Final = 12  # of the letters
_EVEN: Final = 0.01  # of the largest value: a smaller difference cannot be seen


@dataclass(frozen=True, eq=False)
class Row:
    """A scan in the figure.

    Attributes:
        name: Of the scan.
        label: Its class; the maps are the evidence for it.
        volume: The network's input, (d, h, w).
        maps: Of each network, that of the label, (d/8, h/16, w/16).
        probabilities: Of the label, by each network.
        regions: Of a phantom.
    """

    name: str
    label: str
    volume: Float
    maps: tuple[Float, ...]
    probabilities: tuple[float, ...]
    regions: Regions | None = None


def draw_maps(rows: Sequence[Row], networks: Sequence[str], note: str = "") -> Image.Image:
    """Draw a line of tiles for each scan: the slice, then each network's map over it.

    Each map is coloured up to its own largest value in the volume. Lesions of phantoms are
    outlined in the first tile.

    Args:
        rows: The scans.
        networks: Names of their maps.
        note: From `shortcut_note`.
    """
    width = GAP + (1 + len(networks)) * (TILE + GAP)
    notes = _notes(note, width, outlined=any(row.regions for row in rows))
    below = HEADER + len(rows) * (CAPTION + TILE + GAP)
    page = Image.new("RGB", (width, below + CAPTION * len(notes)), _PAPER)
    pen = ImageDraw.Draw(page)
    for column, title in enumerate(("scan", *networks)):
        at = (GAP + column * (TILE + GAP) + TILE // 2, HEADER // 2)
        _write(pen, at, title, size=16, anchor="mm")
    for number, row in enumerate(rows):
        _draw_row(page, row, HEADER + number * (CAPTION + TILE + GAP))
    for number, line in enumerate(notes):
        _write(pen, (GAP + 2, below + number * CAPTION + 2), line)
    return page


def _draw_row(page: Image.Image, row: Row, y: int) -> None:
    pen = ImageDraw.Draw(page)
    evidence = [grown(cam, row.volume.shape) for cam in row.maps]
    index = telling_slice(row, evidence)
    grey = row.volume[index]
    texts = [(row.name, f", slice {index + 1} of {len(row.volume)}")]
    texts += [(row.label, f" {100 * p:.0f} %") for p in row.probabilities]
    tiles = [_outlined(grey, row.regions.lesions[index] if row.regions else None)]
    words = [""]
    for of_network in evidence:
        peak = max(float(of_network.max()), 1e-9)
        tiles.append(blend(grey, of_network[index].clip(0) / peak))
        words.append(_in_words(of_network, index))
    for column, (tile, text, said) in enumerate(zip(tiles, texts, words, strict=True)):
        x = GAP + column * (TILE + GAP)
        _write(pen, (x + 2, y + 3), _fitting(*text))
        picture = Image.fromarray(tile).resize((TILE, TILE), Image.Resampling.BICUBIC)
        page.paste(picture, (x, y + CAPTION))
        _write(pen, (x + 6, y + CAPTION + TILE - 6), said, anchor="ls", stroke_width=2)


def _in_words(evidence: Float, index: int) -> str:
    """Say what a tile's colours cannot: why it has none, or the same everywhere."""
    low, peak = float(evidence.min()), float(evidence.max())
    if peak <= 0:
        return "no evidence in any slice"
    if peak - low < _EVEN * peak:
        return "the same evidence everywhere"
    if evidence[index].max() <= FLOOR * peak:
        return "evidence in other slices"
    return ""


def _notes(note: str, width: int, *, outlined: bool) -> list[str]:
    """Return what stands below the tiles, in lines that fit."""
    lesions = "Outlined: lesions of the phantom. " if outlined else ""
    about = (
        f"Colour: evidence for the label, each map up to its own largest value. {lesions}"
        "Not for diagnosis."
    )
    lines: list[str] = []
    for word in f"{about} {note}".split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _length(longer) <= width - 2 * GAP - 4:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def telling_slice(row: Row, evidence: Sequence[Float]) -> int:
    """Return the slice with most lesion; without known lesions that with most evidence."""
    if row.regions is not None and row.regions.lesions.any():
        return int(row.regions.lesions.sum((1, 2)).argmax())
    mass = np.zeros(len(row.volume))
    for of_network in evidence:
        slices = of_network.clip(0).sum((1, 2))
        mass += slices / max(float(slices.max()), 1e-9)  # each network counts the same
    return int(mass.argmax())


def _outlined(grey: Float, lesions: Float | None) -> npt.NDArray[np.uint8]:
    """Return the slice in grey, with the outline of the lesions."""
    tile = np.repeat((255 * grey.clip(0, 1)).round().astype(np.uint8)[..., None], 3, axis=-1)
    if lesions is not None:
        inside = np.pad(lesions > 0.5, 1)
        core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        tile[inside[1:-1, 1:-1] & ~core] = _OUTLINE
    return tile


def _fitting(name: str, end: str) -> str:
    """Return a name and what follows it, the name's middle left out where a tile is too narrow."""
    kept = len(name)
    text = f"{name}{end}"
    while kept > 2 and _length(text) > TILE - 2:
        kept -= 1
        text = f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}{end}"
    return text


def _length(text: str) -> float:
    font, written = pillow_font(text, _SIZE)
    return font.getlength(written)


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    *,
    size: int = _SIZE,
    anchor: str = "la",
    stroke_width: int = 0,
) -> None:
    font, written = pillow_font(text, size)
    pen.text(at, written, _INK, font, anchor, stroke_width=stroke_width, stroke_fill=_PAPER)
