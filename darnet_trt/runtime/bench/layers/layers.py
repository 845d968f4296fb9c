"""What `bench --layers` finds: an engine's layers, grouped by the network's blocks."""

from __future__ import annotations

from typing import Final, Literal

from darnet_trt.runtime.bench.layers.work import Kind
from darnet_trt.runtime.bench.part import Part, Rounded

Bound = Literal["compute", "memory"]

LEAST_SHARE: Final = 0.005
"""Groups that take less of the time are not shown one by one; the JSON has all."""


class Layer(Part):
    """A layer of the engine that runs.

    Attributes:
        name: As the backend calls it.
        kernel: What ran, in the backend's words: "brgconv_avx512_I8".
        part: As of `Group`.
        kind: As of `Group`.
        ms: Median of the profiled runs.
    """

    name: str
    kernel: str
    part: str
    kind: Kind
    ms: Rounded


class Group(Part):
    """All layers of one kind in one part of the network.

    The operations and bytes are those of the network in the engine's precision (`work.work_of`);
    they and what follows from them are None for conversions, and for layers that are no part of the
    network.

    Attributes:
        part: "stem", a block ("stages.2.0"), "head", "format" or "other".
        kind: What they do.
        ms: Sum of its layers.
        share: Of the sum of all groups, 0 to 1.
        gmac: Multiply-adds for one volume, in 10⁹; an addition alone counts as one.
        mb: Maps and weights that it reads and writes for one volume, in 10⁶ bytes, each once.
        gmac_per_s: `gmac` over its time.
        gb_per_s: `mb` over its time. Above the memory's peak where a cache holds the maps.
        of_peak: `gmac_per_s` over the arithmetic peak; None without one.
        bound: What bounds it at best: "memory" if moving `mb` at the memory's peak takes longer
            than `gmac` at the arithmetic peak; None without peaks.
    """

    part: str
    kind: Kind
    ms: Rounded
    share: Rounded
    gmac: Rounded | None = None
    mb: Rounded | None = None
    gmac_per_s: Rounded | None = None
    gb_per_s: Rounded | None = None
    of_peak: Rounded | None = None
    bound: Bound | None = None


class Layers(Part):
    """Divide the time of one engine among its layers.

    Attributes:
        artifact: The engine's name.
        precision: The one that ran.
        runs: Profiled runs of one volume, after a first that does not count.
        unprofiled_ms: Median time of the engine without its profiler, in turns with it.
        profiled_ms: Median over the profiled runs of the sum of their layers, on a busy machine
            more than the sum of the layers' medians.
        ratio: `profiled_ms` over `unprofiled_ms`: above 1 the profiler costs time, below 1 time
            passes between the layers.
        peak_gmac_per_s: The CPU's arithmetic peak in this precision; None without one.
        peak_gb_per_s: The memory's, of STREAM's triad; None without one.
        no_peak: Why there is no peak; None where there is one.
        groups: In the network's order, "format" and "other" last.
        layers: In the order in which they run.
    """

    artifact: str
    precision: str
    runs: int
    unprofiled_ms: Rounded
    profiled_ms: Rounded
    ratio: Rounded
    peak_gmac_per_s: Rounded | None
    peak_gb_per_s: Rounded | None
    no_peak: str | None
    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
