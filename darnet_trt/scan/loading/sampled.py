"""Which slices of a series the network's input was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from darnet_trt.scan.preprocessing import Span
from darnet_trt.scan.series import Series


@dataclass(frozen=True)
class Sampled:
    """Which slices of a series the input was made from, foot to head.

    Attributes:
        indices: Their numbers in the series, 0 for the lowest slice.
        positions_mm: Their places along the body, in the patient's coordinates; empty where the
            files give none.
        sop_uids: SOPInstanceUID (0008,0018) of each; empty for other formats than DICOM.
        lungs: Lowest and highest slice that shows aerated lung; None where none was found.
        covered: First and last slice that the input covers.
        left_out: Share of the series that the input does not cover.
        left_out_mm: The same in mm; None where the distance of the slices is not known.
    """

    indices: tuple[int, ...]
    positions_mm: tuple[float, ...]
    sop_uids: tuple[str, ...]
    lungs: tuple[int, int] | None
    covered: tuple[int, int]
    left_out: float
    left_out_mm: float | None


def describe(
    series: Series, indices: list[int], span: Span, lungs: tuple[int, int] | None, origin_mm: float
) -> Sampled:
    """Return the description of an input.

    Args:
        series: What was read.
        indices: The slices that were read.
        span: First slice covered, and the one after the last.
        lungs: Lowest and highest slice that shows lung.
        origin_mm: Place of the lowest slice, for a volume file.
    """
    outside = series.slices - (span[1] - span[0])
    return Sampled(
        indices=tuple(indices),
        positions_mm=tuple(round(mm, 3) for mm in positions_mm(series, indices, origin_mm)),
        sop_uids=tuple(series.headers[i].get("SOPInstanceUID", "") for i in indices)
        if series.headers
        else (),
        lungs=lungs,
        covered=(span[0], span[1] - 1),
        left_out=outside / series.slices,
        left_out_mm=None if series.spacing_mm is None else outside * series.spacing_mm[0],
    )


def positions_mm(series: Series, indices: Sequence[int], origin_mm: float) -> tuple[float, ...]:
    """Return the places of slices along the body; empty where the files give none.

    Args:
        series: Which.
        indices: The slices.
        origin_mm: Place of the lowest slice, for a volume file.
    """
    if series.stack is not None:
        return tuple(float(series.stack.positions_mm[i]) for i in indices)
    if series.spacing_mm is None:
        return ()
    return tuple(origin_mm + i * series.spacing_mm[0] for i in indices)
