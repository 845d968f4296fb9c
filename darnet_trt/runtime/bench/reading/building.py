"""Make a report's part of the rounds in which a scan was read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

from darnet_trt.runtime.bench.reading.cost import Cost
from darnet_trt.runtime.bench.reading.models import Bound, Encoding, Reading, Stage, Way
from darnet_trt.runtime.bench.reading.once import Round
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
    last = warm[-1]
    peaks = [one.peak_memory_mb for one in warm if one.peak_memory_mb is not None]
    return Reading(
        files=last.files,
        series=last.series,
        slices=last.slices,
        decoded=last.decoded,
        looked_at=last.looked_at,
        cpus=last.cpus,
        chosen=last.chosen,
        warm=_way(warm),
        cold=_way(cold) if cold else None,
        encodings=tuple(_encoding(name, warm) for name in last.parts),
        peak_memory_mb=max(peaks, default=None),
    )


def _way(rounds: Sequence[Round]) -> Way:
    headers, decoding, preprocessing = (
        _stage([getattr(one, stage) for one in rounds])
        for stage in ("headers", "decoding", "preprocessing")
    )
    whole = _stage([one.whole for one in rounds])
    bound, share = _bound(
        {"headers": headers, "decoding": decoding, "preprocessing": preprocessing}, whole
    )
    return Way(
        headers=headers,
        decoding=decoding,
        preprocessing=preprocessing,
        whole=whole,
        bound=bound,
        bound_percent=100 * share,
    )


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


def _bound(stages: dict[Bound, Stage], whole: Stage) -> tuple[Bound, float]:
    """Return what took most: a stage while it computed, or waiting; and its share of the time."""
    computing = {name: min(one.ms, one.cpu_ms) for name, one in stages.items()}
    waiting = whole.ms - sum(computing.values())
    most = max(computing, key=computing.__getitem__)
    if computing[most] >= waiting:
        return most, stages[most].ms / whole.ms
    from_disk = whole.read_mb and (whole.from_disk_mb or 0.0) >= FROM_DISK * whole.read_mb
    return "disk" if from_disk else "waiting", waiting / whole.ms


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
