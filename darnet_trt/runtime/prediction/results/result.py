"""The result of one scan, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, computed_field
from pydantic.json_schema import SkipJsonSchema

from darnet_trt import __version__
from darnet_trt.errors import Finding, UsageError
from darnet_trt.machine.cache import digest

SCHEMA_VERSION: Final = 3

INTENDED_USE: Final = "Research use only. Not a medical device."

PHANTOMS_ONLY: Final = Finding(
    "trained-on-phantoms",
    "the network was trained on synthetic phantoms only: its class says nothing about a patient",
)
"""The warning of a result for a scan that is not known to be a phantom."""

SHORTCUT: Final = "trained-on-shortcut"
"""Code of the warning that the training cohort gave its classes away without the lungs."""

UNLIKE: Final = "unlike-training"
"""Code of the warning of a scan that is unlike the training scans."""

NO_OBJECTS: Final = "no-dicom-objects"
"""Code of the warning of a result of which a DICOM object cannot be made."""

OBJECTS: Final = ("sr", "pm", "sc")
"""Kinds of DICOM objects of a classified study: the report, the map and the picture."""
REFUSAL: Final = "refusal"
"""The kind of a refused study's report."""

UNDECIDED_BELOW: Final = 0.1
"""A result is undecided if its most probable class leads by less than this."""

_LONGEST: Final = 1000  # characters; a broken header may hold megabytes in one attribute


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _cut_key(key: str) -> str:
    """Return a key of bearable length that is still another for another study."""
    return key if len(key) <= _LONGEST else f"{key[:64]}…{digest(key)}"


def _cut_each(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(Finding(_cut(f.code), _cut(f)) for f in findings)


def _time(text: str) -> str:
    if not text.endswith("Z"):
        raise ValueError("is not in UTC")
    datetime.fromisoformat(text)
    return text


def _inside(name: str) -> str:
    """Refuse a path that leaves the folder: the file is deleted when its result is replaced."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.name:
        raise ValueError("is not a file in the folder")
    return name


def _of_32_bits(number: int | None) -> int | None:
    """Return null for a number that DICOM's IS, and a column of Parquet, cannot hold."""
    return number if number is not None and -(2**31) <= number < 2**31 else None


Text = Annotated[str, AfterValidator(_cut)]

# More digits would show only the engine's rounding, and the clock's.
Probability = Annotated[float, PlainSerializer(lambda p: round(p, 6), return_type=float)]
Logit = Annotated[float, PlainSerializer(lambda x: round(x, 6), return_type=float)]
Milliseconds = Annotated[float, PlainSerializer(lambda ms: round(ms, 2), return_type=float)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        allow_inf_nan=False,  # JSON has neither
        extra="ignore",  # a line that is read again also holds the total, which is computed
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


class SlicesUsed(_Part):
    """The slices that the network's input was made from, and what was left out."""

    model_config = ConfigDict(from_attributes=True)

    indices: tuple[int, ...]
    """Their numbers in the series, from the feet; 0 is the lowest slice."""
    positions_mm: tuple[float, ...]
    """Their places along the body, in the patient's coordinates; empty where not known."""
    sop_uids: tuple[Text, ...]
    """SOPInstanceUID (0008,0018) of each; empty for other formats than DICOM."""
    lungs: tuple[int, int] | None
    """Lowest and highest slice that shows aerated lung; null where none was found."""
    covered: tuple[int, int]
    """Lowest and highest slice that the input covers."""
    left_out: float
    """Share of the series that it does not cover."""
    left_out_mm: float | None
    """The same in mm; null where the spacing is not known."""


class SeriesUsed(_Part):
    """The series that was classified."""

    uid: Text
    """SeriesInstanceUID (0020,000E); empty for other formats than DICOM."""
    number: Annotated[int | None, AfterValidator(_of_32_bits)] = None
    """SeriesNumber (0020,0011); null where there is none."""
    description: Text
    """SeriesDescription (0008,103E), or the file's name."""
    slices: int
    """Slices in the series."""
    matrix: tuple[int, int]
    """Rows and columns of a slice (h, w)."""
    spacing_mm: tuple[float, float, float] | None
    """Distance of voxel centres along d, h, w; null where it is not known."""
    why: Text
    """Why this series was chosen."""
    sampled: SlicesUsed | None = None
    """The slices that were used; null where none was classified."""


class StageTimes(_Part):
    """The time of each stage, in milliseconds; 0 for a stage that was not reached."""

    find: Milliseconds = 0.0
    """Listing files, reading headers, choosing a series, and handing these from process to process;
    of the first scan also the start of the run. Shared evenly by the scans found under one path."""
    read: Milliseconds = 0.0
    """Reading and decoding the needed slices, and handing headers and input from process to
    process."""
    preprocess: Milliseconds = 0.0
    """Windowing and resampling."""
    infer: Milliseconds = 0.0
    """The engine, and what the result says of its outputs."""

    @computed_field(  # type: ignore[prop-decorator]
        description="Sum of the stages, file to result. A batch takes less than the sum of its "
        "totals: the next scan is read while the engine runs."
    )
    @property
    def total(self) -> Milliseconds:
        """Return the sum of the stages."""
        return self.find + self.read + self.preprocess + self.infer


@dataclass(frozen=True, eq=False)
class Evidence:
    """The arrays that an overlay is drawn from.

    Attributes:
        volume: The network's input, float32 (d, h, w), values 0…1.
        cam: Class activation map, float32 (classes, d/8, h/16, w/16), in units of the logits:
            a class's logit is its map's mean plus a bias.
        oriented: Whether the file said which side is which.
    """

    volume: npt.NDArray[np.float32]
    cam: npt.NDArray[np.float32]
    oriented: bool


@dataclass(frozen=True, eq=False)
class Made:
    """A DICOM object that was made of a result.

    Attributes:
        kind: "sr": the report; "pm": the map; "sc": a picture; "refusal": the report of a refusal.
        sop_class: SOPClassUID (0008,0016).
        sop_uid: SOPInstanceUID (0008,0018).
        series_uid: SeriesInstanceUID (0020,000E).
        content: The file's bytes.
    """

    kind: str
    sop_class: str
    sop_uid: str
    series_uid: str
    content: bytes = field(repr=False)


class DicomDocument(_Part):
    """A report, as another one refers to it."""

    sop_class: str
    """SOPClassUID (0008,0016)."""
    sop_uid: str
    """SOPInstanceUID (0008,0018)."""
    series_uid: str
    """SeriesInstanceUID (0020,000E)."""


class DicomObject(_Part):
    """A DICOM object in the output folder."""

    kind: str
    """sr: the report; pm: the map; sc: the picture; refusal: the report of a refused study."""
    sop_class: str
    """SOPClassUID (0008,0016)."""
    sop_uid: str
    """SOPInstanceUID (0008,0018)."""
    series_uid: str
    """SeriesInstanceUID (0020,000E)."""
    file: Annotated[str, AfterValidator(_inside)]
    """The file, relative to the output folder."""


class Result(_Part):
    """The result for one scan."""

    model_config = ConfigDict(
        title="darnet-trt result", arbitrary_types_allowed=True, populate_by_name=True
    )

    schema_version: Literal[3] = SCHEMA_VERSION
    """Version of this schema."""
    scan: str
    """The study's folder or file, relative to the folder that was given."""
    key: Annotated[str, AfterValidator(_cut_key)]
    """What the study is, wherever it lies; a later result with the same key replaces this one."""
    content: str
    """Hash of what was found of the study: it changes when slices come."""
    study_uid: Text
    """StudyInstanceUID (0020,000D); empty for other formats than DICOM."""
    status: Literal["ok", "refused", "failed"]
    """ok: classified; refused: readable, but not fit to be classified; failed: not readable."""
    reason: Text
    """Why it was refused or failed; empty when ok."""
    code: Text
    """The reason's code, which stays the same where its sentence changes; empty when ok."""
    predicted: str | None = Field(validation_alias="class", serialization_alias="class")
    """The most probable class; null unless ok."""
    probabilities: dict[str, Probability]
    """Class → softmax probability, calibrated by the bundle's temperature, in the bundle's order;
    empty unless ok."""
    logits: dict[str, Logit] = {}
    """Class → the network's raw logit; empty unless ok, and in results of older versions."""
    series: SeriesUsed | None
    """The series that was classified; null where none was chosen."""
    warnings: Annotated[tuple[Finding, ...], AfterValidator(_cut_each)]
    """Unusual facts about the scan or the engine, each with a code that stays the same."""
    stages_ms: StageTimes
    """The time of each stage."""
    finished: Annotated[str, AfterValidator(_time)]
    """When the answer was given first: UTC, ISO 8601 with milliseconds."""
    bundle_sha256: str
    """SHA-256 of the bundle's manifest, which names the whole bundle."""
    artifact: str
    """Name of the engine in the bundle."""
    precision: str
    """The precision that the engine ran in."""
    trained_on: str
    """The data that the network was trained on."""
    patient_id: Text | None = None
    """PatientID (0010,0020), or its pseudonym; null where there is none."""
    accession_number: Text | None = None
    """AccessionNumber (0008,0050), or its pseudonym; null where there is none."""
    study_date: Text | None = None
    """StudyDate (0008,0020) as YYYYMMDD, or its pseudonym; null where there is none."""
    pseudonymous: bool = False
    """Whether these three are pseudonyms: keyed hashes, 16 hexadecimal digits."""
    replaces: str | None = None
    """`content` of the result that this one replaced; null where it is the first."""
    overlay: Annotated[str, AfterValidator(_inside)] | None = None
    """Overlay PNG, relative to the output folder; null where none was drawn."""
    dicom: tuple[DicomObject, ...] = ()
    """The DICOM objects that were made of the result; empty where none were."""
    dicom_unmade: tuple[str, ...] = ()
    """Kinds of DICOM objects that were asked for and could not be made; a warning says why."""
    predecessor: DicomDocument | None = None
    """The report of a result that this one replaced; null where there is none."""
    intended_use: str = INTENDED_USE
    """The use that the result is meant for."""
    toolkit: str = __version__
    """Version of darnet-trt."""
    evidence: SkipJsonSchema[Evidence | None] = Field(default=None, exclude=True, repr=False)
    """Input and activation map, where they were asked for; not written out."""
    made: SkipJsonSchema[tuple[Made, ...]] = Field(default=(), exclude=True, repr=False)
    """The DICOM objects that a folder is to keep; not written out."""

    @computed_field(  # type: ignore[prop-decorator]
        description="Whether the most probable class leads by less than 0.1; false unless ok."
    )
    @property
    def undecided(self) -> bool:
        """Return whether the most probable class hardly leads."""
        return bool(self.probabilities) and undecided(self.probabilities) is not None


def check_kinds(kinds: Iterable[str]) -> None:
    """Check that there are such kinds of DICOM objects.

    Raises:
        UsageError: There is no such kind.
    """
    known = (*OBJECTS, REFUSAL)
    if unknown := [kind for kind in kinds if kind not in known]:
        raise UsageError(
            f"there is no kind of DICOM object {unknown[0]!r}", do=f"choose from {', '.join(known)}"
        )


def kinds_of(status: str, wanted: Collection[str]) -> tuple[str, ...]:
    """Return which of the wanted kinds of DICOM objects a result with some status can have."""
    match status:
        case "ok":
            return tuple(kind for kind in wanted if kind != REFUSAL)
        case "refused":
            return tuple(kind for kind in wanted if kind == REFUSAL)
    return ()


def now() -> str:
    """Return the time as a result's `finished` gives it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def undecided(probabilities: dict[str, float]) -> Finding | None:
    """Return one line with all classes where the most probable one hardly leads, else None."""
    most, second = sorted(probabilities.values(), reverse=True)[:2]
    if most - second >= UNDECIDED_BELOW:
        return None
    return Finding("undecided", f"undecided: {', '.join(percentages(probabilities))}")


def percentages(probabilities: dict[str, float]) -> list[str]:
    """Return "normal 93.1 %" for each class, the most probable one first."""
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])
    return [f"{name} {100 * p:.1f} %" for name, p in ordered]


def json_line(result: Result) -> str:
    """Return one line of JSON, ASCII only: paths that are not UTF-8 are written as escapes."""
    record = result.model_dump(mode="json", by_alias=True)
    return json.dumps(record, allow_nan=False) + "\n"


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a line of `json_line`."""
    return Result.model_json_schema(mode="serialization")
