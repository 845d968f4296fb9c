"""Make small studies for a service, with everything in them that a scanner room may send."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pydicom
from pydicom.dataset import Dataset

from benchmarks.cpu.predict.archive import Template, phantom_slices, template, uid_of

MATRIX: Final = 64
"""Rows and columns of a slice: 9 KB, and still a chest that is classified."""

KINDS: Final = ("chest", "localizers", "chest", "short pixels", "chest", "no spacing", "twins")
"""Names the studies, in turn.

chest: one series, classified. localizers: a tenth of it is a second series, which is left out.
short pixels: three slices have less pixel data than they say. no spacing: no slice says how large
its pixels are, so the study is refused. twins: three slices come with other content, too, and a
fourth as one of the study before.
"""


@dataclass(frozen=True)
class Instance:
    """A DICOM file that is sent.

    Attributes:
        study: Number of its study, from 0.
        sop_uid: SOPInstanceUID (0008,0018).
        content: The file's bytes (PS3.10).
    """

    study: int
    sop_uid: str
    content: bytes = field(repr=False)

    @property
    def study_uid(self) -> str:
        """Return its StudyInstanceUID (0020,000D)."""
        return uid_of(self.study)

    @property
    def digest(self) -> str:
        """Return what tells its content from another one under the same SOPInstanceUID."""
        return hashlib.sha256(self.content).hexdigest()[:16]


def make_studies(studies: int, slices: int, *, first: int = 0) -> list[list[Instance]]:
    """Make studies of the kinds in turn, each of `slices` files; the twins' others are more.

    Args:
        studies: How many.
        slices: Files of each, at least 30.
        first: Number of the first one: the same number gives the same UIDs.
    """
    phantom = phantom_slices(MATRIX, slices)
    templates = {kind: template(_of_kind(kind, phantom)) for kind in dict.fromkeys(KINDS)}
    twins = template(_changed(phantom))
    made = []
    for number in range(first, first + studies):
        kind = KINDS[number % len(KINDS)]
        instances = _instances(templates[kind], number)
        if kind == "twins":
            instances += _instances(twins, number)[::-1][:3]
            instances.append(_strayed(instances[3]))
        made.append(instances)
    return made


def _instances(of: Template, number: int) -> list[Instance]:
    found = []
    for _, content in of.study(number):
        ds = pydicom.dcmread(io.BytesIO(content), specific_tags=["SOPInstanceUID"])
        found.append(Instance(number, str(ds.SOPInstanceUID), content))
    return found


def _strayed(instance: Instance) -> Instance:
    """Return an instance that says that it belongs to the study before."""
    ds = pydicom.dcmread(io.BytesIO(instance.content))
    ds.StudyInstanceUID = uid_of(instance.study - 1)
    with io.BytesIO() as written:
        ds.save_as(written, enforce_file_format=True)
        return Instance(instance.study - 1, instance.sop_uid, written.getvalue())


def _of_kind(kind: str, phantom: Sequence[Dataset]) -> list[Dataset]:
    slices = copy.deepcopy(list(phantom))
    if kind == "localizers":
        for ds in slices[: len(slices) // 10]:
            ds.SeriesInstanceUID += ".1"
            ds.SeriesNumber = 1
            ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    elif kind == "short pixels":
        for ds in slices[10:13]:
            ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    elif kind == "no spacing":
        for ds in slices:
            del ds.PixelSpacing
    return slices


def _changed(phantom: Sequence[Dataset]) -> list[Dataset]:
    """Return the slices with a picture that is brighter by 1 HU."""
    slices = copy.deepcopy(list(phantom))
    for ds in slices:
        ds.RescaleIntercept = str(float(ds.RescaleIntercept) + 1)
    return slices
