"""Folders of PNG or JPEG slices, as CC-CCII publishes its scans (patient/scan/0000.png).

Such slices carry neither Hounsfield units nor positions, so the reader assumes three things and
warns of the first two: grey 0…255 spans the window of the network's preprocessing linearly
(CC-CCII was windowed for the lung before it was published; the window is not documented); the
numbering runs from head to foot; rows go posterior and columns go left, as on a screen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from darnet_trt.errors import RefusedScanError, ScanError, UnreadableScanError, cannot_read
from darnet_trt.scan.plausibility.grid import too_few
from darnet_trt.scan.series import Series, Verdict

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg"})
ASSUMPTIONS: Final = (
    "image slices carry no Hounsfield units: grey 0 to 255 was read as the network's window",
    "image slices carry no positions: the numbering was read from head to foot",
)


Kind = Literal["png", "jpeg", "tiff"]
_FIRST_BYTES: Final[dict[bytes, Kind]] = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}


def picture_kind(first_bytes: bytes) -> Kind | None:
    """Return what kind of picture a file's first 8 bytes begin, or None: no slice of a scan."""
    return next((k for start, k in _FIRST_BYTES.items() if first_bytes.startswith(start)), None)


class _Image(NamedTuple):
    """An image's size (h, w) and Pillow's mode, from its header."""

    size: tuple[int, int]
    mode: str


def natural_key(path: Path) -> list[Any]:
    """Sort 2.png before 10.png, folder by folder."""
    return [
        [
            int(piece) if piece.isascii() and piece.isdigit() else piece
            for piece in re.split(r"([0-9]+)", part.lower())
        ]
        for part in path.parts
    ]


def slice_series(folder: Path, files: list[Path]) -> Series:
    """Return a folder's images as a series, judged by their headers and one decoded slice."""
    ordered = sorted(files, key=natural_key, reverse=True)  # foot to head
    images: dict[Path, _Image] = {}
    broken: list[str] = []
    for path in ordered:
        try:
            with _opened(path) as image:
                images[path] = _Image((image.height, image.width), image.mode)
        except UnreadableScanError as error:
            broken.append(f"{path.name} {error.what}")
    return Series(
        path=folder if len(ordered) > 1 else ordered[0],
        format="slices",
        files=tuple(images or ordered),
        description=folder.name,
        slices=len(images or ordered),
        matrix=next((image.size for image in images.values()), (0, 0)),
        verdict=_judge(images, broken),
    )


def _judge(images: dict[Path, _Image], broken: list[str]) -> Verdict:
    """Return the verdict by headers, names and the middle slice, which may be a screenshot."""
    count = len(images)
    if broken:
        reason = f"{len(broken)} of {count + len(broken)} images cannot be read: {broken[0]}"
        return Verdict(False, reason, readable=False)
    if count == 1:
        return Verdict(False, "a single image, not a volume")
    if few := too_few(count):
        return Verdict(False, few)
    sizes = Counter(image.size for image in images.values())
    if len(sizes) > 1:
        listed = ", ".join(f"{n} of {h}×{w}" for (h, w), n in sorted(sizes.items()))
        return Verdict(False, f"images of different sizes ({listed})")
    deep = sum(image.mode.startswith(("I", "F")) for image in images.values())
    if deep:
        reason = f"{deep} images have more than 8 bits, so what their grey values mean is unknown"
        return Verdict(False, reason)
    numbers = sorted(int(n[-1]) for path in images if (n := re.findall(r"\d+", path.stem)))
    missing = numbers[-1] - numbers[0] + 1 - count if len(numbers) == count else 0
    if missing > 0:
        what = "slice is missing" if missing == 1 else "slices are missing"
        before = next(low for low, high in pairwise(numbers) if high - low > 1)
        first = "" if missing == 1 else "the first "
        reason = f"{missing} {what} from the numbering, {first}after {before}"
        return Verdict(False, reason)
    middle = list(images)[count // 2]
    try:
        decode_grey(middle)
    except ScanError as error:
        readable = isinstance(error, RefusedScanError)
        return Verdict(False, f"{middle.name} {error.what}", readable=readable)
    return Verdict(True, f"{count} image slices", ASSUMPTIONS)


def decode_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Return an image's grey values (h, w).

    Raises:
        UnreadableScanError: Truncated, or not an image.
        RefusedScanError: Its colours differ: a screenshot or an overlay.
    """
    with _opened(path) as image:
        if image.mode == "L":
            return np.asarray(image)
        if image.mode in ("1", "LA"):
            return np.asarray(image.convert("L"))
        pixels = np.asarray(image.convert("RGB"))
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if not (np.array_equal(red, green) and np.array_equal(red, blue)):
        raise RefusedScanError(
            "is a colour image (screenshot or overlay), not a CT slice", where=path
        )
    return np.ascontiguousarray(red)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; turn what is wrong with it, now or later, into UnreadableScanError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError:
        raise UnreadableScanError("is not an image", where=path) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise cannot_read(path, error) from error
