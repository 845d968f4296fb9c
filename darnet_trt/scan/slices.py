"""Folders of PNG or JPEG slices, as CC-CCII publishes its scans (patient/scan/0000.png).

Such slices have lost what a CT is measured in, so three things are assumed, and said in the
verdict's warnings: grey 0…255 spans the window of the network's preprocessing linearly (CC-CCII
was windowed for the lung before it was published, with what is not documented); the numbering
runs from head to foot; rows go posterior and columns go left, as on a screen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import RefusedScanError, UnreadableScanError
from darnet_trt.scan.positions import MIN_SLICES
from darnet_trt.scan.series import Series, Verdict

__all__ = ["ASSUMPTIONS", "SUFFIXES", "decode_grey", "natural_key", "slice_series"]

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})
ASSUMPTIONS: Final = (
    "image slices: 0 to 255 is taken as the network's window, without Hounsfield units",
    "image slices: the numbering is taken to run from head to foot",
)


def natural_key(path: Path) -> list[Any]:
    """Sort 2.png before 10.png, folder by folder."""
    return [
        [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", part.lower())]
        for part in path.parts
    ]


def slice_series(folder: Path, files: list[Path]) -> Series:
    """One folder's images as a series, judged by their headers and one decoded slice."""
    ordered = sorted(files, key=natural_key, reverse=True)  # foot to head
    sizes: dict[tuple[int, int], int] = {}
    readable, broken, deep = [], [], 0
    for path in ordered:
        try:
            size, mode = _probe(path)
        except UnreadableScanError as error:
            broken.append(f"{path.name} {error.what}")
            continue
        readable.append(path)
        sizes[size] = sizes.get(size, 0) + 1
        deep += mode.startswith(("I", "F"))
    refusal, warnings = None, ASSUMPTIONS
    count = len(readable)
    if not count:
        refusal = f"no readable image among {len(ordered)}: {broken[0]}"
    elif broken:
        refusal = f"{len(broken)} of {len(ordered)} images cannot be read: {broken[0]}"
    elif count == 1:
        refusal = "a single image, not a volume"
    elif count < MIN_SLICES:
        refusal = f"{count} slices are too few for a chest (at least {MIN_SLICES})"
    elif len(sizes) > 1:
        listed = ", ".join(f"{n} of {h}×{w}" for (h, w), n in sorted(sizes.items()))
        refusal = f"images of different sizes ({listed})"
    elif deep:
        refusal = f"{deep} images have more than 8 bits: their grey values have no known meaning"
    else:
        numbers = [int(n[-1]) for p in readable if (n := re.findall(r"\d+", p.stem))]
        missing = numbers[0] - numbers[-1] + 1 - count if len(numbers) == count else 0
        if missing > 0:
            noun = "slice is" if missing == 1 else "slices are"
            refusal = f"{missing} {noun} missing from the numbering"
    if refusal is None:
        try:
            decode_grey(readable[count // 2])  # a colour screenshot shows in its middle
        except (RefusedScanError, UnreadableScanError) as error:
            refusal = f"{readable[count // 2].name}: {error.what}"
    return Series(
        path=folder if len(ordered) > 1 else ordered[0],
        format="slices",
        files=tuple(readable or ordered),
        uid="",
        description=folder.name,
        kernel="",
        matrix=next(iter(sizes), (0, 0)),
        spacing_mm=None,
        verdict=Verdict(
            refusal is None, refusal or f"{count} image slices", () if refusal else warnings
        ),
        slice_count=count,
    )


def decode_grey(path: Path) -> npt.NDArray[np.uint8]:
    """An image's grey values (h, w).

    Raises:
        UnreadableScanError: Truncated or no image.
        RefusedScanError: Its colours differ: a screenshot or an overlay.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode == "L":
                return np.asarray(image)
            if image.mode in ("1", "LA"):
                return np.asarray(image.convert("L"))
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableScanError(f"cannot be read ({error})", where=path) from error
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise RefusedScanError("a colour image (screenshot or overlay), not a CT slice", where=path)
    return np.ascontiguousarray(red)


def _probe(path: Path) -> tuple[tuple[int, int], str]:
    """Size (h, w) and mode, from the file's header."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return (image.height, image.width), image.mode
    except UnidentifiedImageError:
        raise UnreadableScanError("is no image", where=path) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableScanError(f"cannot be read ({error})", where=path) from error
