"""The paper's Figure 2: one slice of each scan, and the maps of the networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from darnet_trt.evaluation.evidence import blend, grown
from darnet_trt.training.ablation.explanation.regions import Regions

Float = npt.NDArray[np.float32]

TILE: Final = 224
GAP: Final = 6
HEADER: Final = 34
CAPTION: Final = 22
_OUTLINE: Final = np.array((0, 230, 230), np.uint8)
_INK: Final = (232, 232, 232)
_PAPER: Final = (16, 16, 18)


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


def draw_maps(rows: Sequence[Row], networks: Sequence[str]) -> Image.Image:
    """Draw a line of tiles for each scan: the slice, then each network's map over it.

    Each map is coloured up to its own largest value in the volume. Lesions of phantoms are
    outlined in the first tile.
    """
    columns, line = 1 + len(networks), CAPTION + TILE + GAP
    notes = ["Colour: evidence for the label,", "each map up to its own largest value."]
    if any(row.regions for row in rows):
        notes.append("Outlined: lesions of the phantom.")
    notes.append("Not for diagnosis.")
    below = HEADER + len(rows) * line
    size = GAP + columns * (TILE + GAP), below + CAPTION * -(-len(notes) // columns)
    page = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(page)
    for column, title in enumerate(("scan", *networks)):
        at = (GAP + column * (TILE + GAP) + TILE // 2, HEADER // 2)
        pen.text(at, title, _INK, ImageFont.load_default(17), anchor="mm")
    for number, row in enumerate(rows):
        y = HEADER + number * line
        evidence = [grown(cam, row.volume.shape) for cam in row.maps]
        index = telling_slice(row, evidence)
        first = f"{row.name}, slice {index + 1} of {len(row.volume)}"
        shares = (f"{row.label} {100 * p:.0f} %" for p in row.probabilities)
        grey = row.volume[index]
        tiles = [_outlined(grey, row.regions.lesions[index] if row.regions else None)]
        for of_network in evidence:
            peak = max(float(of_network.max()), 1e-9)
            tiles.append(blend(grey, of_network[index].clip(0) / peak))
        for column, (tile, text) in enumerate(zip(tiles, (first, *shares), strict=True)):
            x = GAP + column * (TILE + GAP)
            pen.text((x + 2, y + 4), _fitting(pen, text), _INK, ImageFont.load_default(13))
            picture = Image.fromarray(tile).resize((TILE, TILE), Image.Resampling.BICUBIC)
            page.paste(picture, (x, y + CAPTION))
    for number, note in enumerate(notes):
        x, y = GAP + number % columns * (TILE + GAP), below + number // columns * CAPTION
        pen.text((x + 2, y + 2), note, _INK, ImageFont.load_default(13))
    return page


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


def _fitting(pen: ImageDraw.ImageDraw, text: str) -> str:
    font = ImageFont.load_default(13)
    while text and pen.textlength(text, font) > TILE:
        text = f"{text[:-2]}…" if text.endswith("…") else f"{text[:-1]}…"
    return text
