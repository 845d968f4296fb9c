"""Put an engine's groups of layers into a table for a person."""

from __future__ import annotations

from typing import Final

from darnet_trt.runtime.bench.layers.layers import LEAST_SHARE, Group, Layers

TITLES: Final = ("part", "what", "ms", "share", "GMAC/s", "of peak", "GB/s", "of memory", "bound")
_NONE: Final = "–"


def rows(layers: Layers) -> list[tuple[str, ...]]:
    """Return a row of `TITLES` for each group, those below `LEAST_SHARE` in one row.

    A group that is no part of the network ("other") always has a row of its own.
    """
    large = [g for g in layers.groups if g.share >= LEAST_SHARE or g.kind == "other"]
    small = [g for g in layers.groups if g not in large]
    found = [_row(group, layers) for group in large]
    if small:
        ms, share = sum(g.ms for g in small), sum(g.share for g in small)
        what = f"{len(small)} below {_percent(LEAST_SHARE)} each"
        rest = [_NONE] * (len(TITLES) - 4)
        found.append(("smaller groups", what, _number(ms), _percent(share), *rest))
    return found


def summary(layers: Layers) -> list[str]:
    """Return lines: the share of each kind, largest first; what the profile cost; the peaks."""
    shares: dict[str, float] = {}
    for group in layers.groups:
        shares[group.kind] = shares.get(group.kind, 0.0) + group.share
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    kinds = ", ".join(f"{kind} {_percent(share)}" for kind, share in ordered)
    lines = [
        f"{layers.artifact} in {layers.precision}: {kinds}",
        f"layers together {_number(layers.profiled_ms)} ms, the engine without profiler "
        f"{_number(layers.unprofiled_ms)} ms: {layers.ratio:.2f}×",
    ]
    if layers.peak_gmac_per_s is None or layers.peak_gb_per_s is None:
        return [*lines, f"no peak: {layers.no_peak}"]
    peaks = f"peak {layers.peak_gmac_per_s:.0f} GMAC/s, memory {layers.peak_gb_per_s:.1f} GB/s"
    return [*lines, peaks]


def _row(group: Group, layers: Layers) -> tuple[str, ...]:
    memory = None
    if group.gb_per_s is not None and layers.peak_gb_per_s is not None:
        memory = group.gb_per_s / layers.peak_gb_per_s
    return (
        group.part,
        group.kind,
        _number(group.ms),
        _percent(group.share),
        _number(group.gmac_per_s),
        _percent(group.of_peak),
        _number(group.gb_per_s),
        _percent(memory),
        group.bound or _NONE,
    )


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.01 else "<0.01"


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f} %"
