"""Make a report's part of the rounds in which a scan was read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

from darnet_trt.runtime.bench.file_to_result.reading.cost import Cost
from darnet_trt.runtime.bench.file_to_result.reading.models import (
    Bound,
    Encoding,
    Reading,
    Stage,
    Way,
)
from darnet_trt.runtime.bench.file_to_result.reading.once import Round
from darnet_trt.runtime.bench.statistics.quantiles import summarise

FROM_DISK: Final = 0.5
"""With this share of the bytes from the disk, the file cache did not hold the files."""
_BYTES_PER_PIXEL: Final = 2


def reading(warm: Sequence[Round], cold: Sequence[Round]) -> Reading:
    """Return what the rounds show.

    Args:
        warm: At least one.
        cold: Those whose files were dropped from the file cache first; none: that is not possible.
    """
    last, way = warm[-1], _way(warm)
    peaks = [one.peak_memory_mb for one in warm if one.peak_memory_mb is not None]
    return Reading(
        files=last.files,
        series=last.series,
        slices=last.slices,
        decoded=last.decoded,
        looked_at=last.looked_at,
        cpus=last.cpus,
        chosen=last.chosen,
        warm=way,
        cold=_way(cold, way) if cold else None,
        encodings=tuple(_encoding(name, warm) for name in last.parts),
        peak_memory_mb=max(peaks, default=None),
    )


def _way(rounds: Sequence[Round], warm: Way | None = None) -> Way:
    """Return a way; one with cold files waits for the disk only where it waits more than warm."""
    stages: dict[Bound, Stage] = {
        "headers": _stage([one.headers for one in rounds]),
        "decoding": _stage([one.decoding for one in rounds]),
        "preprocessing": _stage([one.preprocessing for one in rounds]),
    }
    whole = _stage([one.whole for one in rounds])
    takes = {name: min(one.ms, one.cpu_ms) for name, one in stages.items()}
    waiting_ms = max(0.0, whole.ms - sum(takes.values()))
    of_disk = max(0.0, waiting_ms - (0.0 if warm is None else warm.waiting_ms))
    takes["disk"] = of_disk if _from_disk(whole) else 0.0
    takes["waiting"] = waiting_ms - takes["disk"]
    bound = max(takes, key=takes.__getitem__)
    of_it = stages[bound].ms if bound in stages else takes[bound]
    return Way(
        headers=stages["headers"],
        decoding=stages["decoding"],
        preprocessing=stages["preprocessing"],
        whole=whole,
        waiting_ms=waiting_ms,
        bound=bound,
        bound_percent=100 * of_it / whole.ms,
    )


def _from_disk(whole: Stage) -> bool:
    if whole.read_mb is None or whole.from_disk_mb is None:
        return False
    return whole.from_disk_mb >= FROM_DISK * whole.read_mb


def _stage(costs: Sequence[Cost]) -> Stage:
    ms, cpu_ms, read_mb, from_disk_mb = zip(*costs, strict=True)
    (middle,) = summarise(ms, (50,)).quantiles
    return Stage(
        ms=median(ms),
        low_ms=middle.low_ms,
        high_ms=middle.high_ms,
        cpu_ms=median(cpu_ms),
        read_mb=_known(median(read_mb)),
        from_disk_mb=_known(median(from_disk_mb)),
        samples_ms=ms,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _encoding(name: str, rounds: Sequence[Round]) -> Encoding:
    part = rounds[-1].parts[name]
    time = _stage([cost for one in rounds if (cost := one.parts[name].cost) is not None])
    mb = part.decoded * part.pixels * _BYTES_PER_PIXEL / 1e6
    return Encoding(
        name=name,
        slices=part.slices,
        decoded=part.decoded,
        time=time,
        mb_per_s=mb / time.ms * 1e3,
    )
