"""What is kept in memory of each result of a folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from sys import intern
from typing import Self

from darnet_trt import __version__
from darnet_trt.runtime.prediction.results.result import Result


@dataclass(frozen=True, slots=True)
class Standing:
    """A result that stands.

    Attributes:
        content: Of the study when it was read.
        bundle_sha256: The bundle.
        artifact: The bundle's engine.
        status: "ok", "refused" or "failed".
        code: The reason's code; empty when ok.
        scan: The study's path, relative to the folder that was given.
        overlay: Name of its overlay; None where none was drawn, or where the file is gone.
        dicom: Kinds of its DICOM objects, without those whose files are gone.
        unmade: Kinds of those that this version could not make.
        offset: Where its line begins in `results.jsonl`, in bytes.
        length: How long its line is without the line end.
    """

    content: str
    bundle_sha256: str
    artifact: str
    status: str
    code: str
    scan: str
    overlay: str | None
    dicom: tuple[str, ...]
    unmade: tuple[str, ...]
    offset: int
    length: int

    @classmethod
    def of(
        cls, result: Result, place: tuple[int, int], *, overlay: str | None, dicom: Iterable[str]
    ) -> Self:
        """Return what is kept of a result.

        Args:
            result: Which.
            place: Offset and length of its line.
            overlay: As of `Standing`.
            dicom: As of `Standing`, in any order.
        """
        return cls(
            content=result.content,
            bundle_sha256=intern(result.bundle_sha256),
            artifact=intern(result.artifact),
            status=intern(result.status),
            code=intern(result.code),
            scan=result.scan,
            overlay=overlay,
            dicom=tuple(map(intern, sorted(dicom))),
            unmade=result.dicom_unmade if result.toolkit == __version__ else (),
            offset=place[0],
            length=place[1],
        )
