"""Write archives of many studies quickly: the bytes of one study's files with new UIDs in them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import imagecodecs
import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from darnet_trt.phantom.files.dicom import write_dicom
from darnet_trt.phantom.synthesis import synthesize_scan

# Ten digits in each UID and in PatientID: they are counted up, and no file changes its length.
_FIRST: Final = 9_000_000_000
_HELD: Final = str(_FIRST).encode()

Encode = Callable[[np.ndarray], bytes]
ENCODINGS: Final[dict[str, tuple[str, Encode]]] = {
    "JPEG 2000": (
        uid.JPEG2000Lossless,
        lambda stored: imagecodecs.jpeg2k_encode(
            stored, level=0, codecformat="j2k", bitspersample=16, reversible=True
        ),
    ),
    "HTJ2K": (
        uid.HTJ2KLossless,
        lambda stored: imagecodecs.htj2k_encode(stored, reversible=True),
    ),
}
"""Name → transfer syntax and encoder of a slice."""


@dataclass(frozen=True)
class Template:
    """A study whose files can be written again and again as other studies.

    Attributes:
        files: Name and bytes of each.
    """

    files: tuple[tuple[str, bytes], ...]

    @property
    def size(self) -> int:
        """Return the bytes of one study."""
        return sum(len(content) for _, content in self.files)

    def study(self, number: int) -> list[tuple[str, bytes]]:
        """Return name and bytes of each file of study `number`, from 0."""
        own = str(_FIRST + number).encode()
        return [(name, content.replace(_HELD, own)) for name, content in self.files]

    def write(self, folder: Path, number: int, *, only: slice = slice(None)) -> Path:
        """Write it as study `number` into a folder, made where absent.

        Args:
            folder: Where to.
            number: From 0; the same number gives the same UIDs.
            only: The files to write.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.study(number)[only]:
            (folder / name).write_bytes(content)
        return folder


def write_archive(folder: Path, templates: Sequence[Template], studies: int) -> Path:
    """Write studies into folders of their own, at most a thousand beside each other."""
    for number in range(studies):
        place = folder / f"{number // 1000:03d}" / f"{number:06d}"
        templates[number % len(templates)].write(place, number)
    return folder


def uid_of(number: int) -> str:
    """Return the StudyInstanceUID of study `number`."""
    return f"2.25.{_FIRST + number}"


def template(slices: Iterable[Dataset]) -> Template:
    """Make a template of the slices of one study, which are changed."""
    series: dict[str, int] = {}
    files = []
    for number, ds in enumerate(slices):
        own = series.setdefault(ds.SeriesInstanceUID, len(series) + 1)
        ds.StudyInstanceUID = f"2.25.{_FIRST}"
        ds.SeriesInstanceUID = f"2.25.{_FIRST}.{own}"
        ds.FrameOfReferenceUID = f"2.25.{_FIRST}.{own}.0"
        ds.SOPInstanceUID = f"2.25.{_FIRST}.{own}.{number + 1}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.PatientID = ds.PatientName = ds.AccessionNumber = str(_FIRST)
        with io.BytesIO() as written:
            ds.save_as(written, enforce_file_format=True)
            files.append((f"IM{number:04d}.dcm", written.getvalue()))
    return Template(tuple(files))


def read_slices(folder: Path) -> list[Dataset]:
    """Read the DICOM files below a folder."""
    return [pydicom.dcmread(file) for file in sorted(folder.rglob("*")) if file.is_file()]


def phantom_slices(matrix: int, slices: int, seed: int = 1) -> list[Dataset]:
    """Make the slices of a phantom."""
    scan = synthesize_scan("normal", seed, matrix=matrix, slices=(slices, slices))
    with TemporaryDirectory() as folder:
        write_dicom(scan, Path(folder), "phantom", 0, "archive")
        return read_slices(Path(folder))


def encoded(slices: Iterable[Dataset], encoding: str) -> list[Dataset]:
    """Encode each slice without loss; one of `ENCODINGS`."""
    syntax, encode = ENCODINGS[encoding]
    made = list(slices)
    for ds in made:
        ds.PixelData = encapsulate([encode(np.ascontiguousarray(ds.pixel_array))])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = syntax
    return made


def headers_only(of: Template, files: int) -> Template:
    """Keep a few files, and of each the header: a study that is refused without a decoded slice."""
    kept = []
    for name, content in of.files[:files]:
        ds = pydicom.dcmread(io.BytesIO(content))
        ds.PixelData = b""
        with io.BytesIO() as written:
            ds.save_as(written)
            kept.append((name, written.getvalue()))
    return Template(tuple(kept))
