"""Draw the roofline of an engine.

The axes are those of Williams, Waterman and Patterson, "Roofline" (CACM 52 (4), 2009), with
multiply-adds for operations: how many a group has for each byte that it moves, and how many it
does a second. The roof is the less of the CPU's peak and of what its memory can feed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from darnet_trt.evaluation.pictures import COLOURS, need_matplotlib
from darnet_trt.runtime.bench.layers.layers import LEAST_SHARE, Group, Layers
from darnet_trt.runtime.bench.layers.work import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES: Final = (8.0, 5.0)
_DPI: Final = 150
_AREA: Final = 1500  # of a group that takes all time, in square points
_LEAST_AREA: Final = 12
_PARTS: Final = ("stem", *(f"stages.{stage}" for stage in range(4)), "head")
_MARKERS: Final[dict[Kind, str]] = {
    "convolutions": "o",
    "attention means": "s",
    "channel attention": "^",
    "depth attention": "v",
    "fused attention": "P",
    "shortcut": "D",
    "head": "X",
}


def roofline(layers: Layers) -> Figure | None:
    """Draw each group as a point whose area is its time; None where there is no peak.

    Groups below `LEAST_SHARE` of the time are left out.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    peak, bandwidth = layers.peak_gmac_per_s, layers.peak_gb_per_s
    points = [
        (group, group.gmac * 1e3 / group.mb, group.gmac_per_s)
        for group in layers.groups
        if group.gmac and group.mb and group.gmac_per_s and group.share >= LEAST_SHARE
    ]
    if peak is None or bandwidth is None or not points:
        return None
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    at = [intensity for _, intensity, _ in points]
    roof = np.geomspace(min(*at, peak / bandwidth) / 2, max(*at, peak / bandwidth) * 2, 200)
    axes.plot(roof, np.minimum(peak, bandwidth * roof), color="0.3", linewidth=1)
    colours = dict(zip(_PARTS, COLOURS, strict=False))
    for group, intensity, speed in points:
        axes.scatter(
            intensity,
            speed,
            max(_AREA * group.share, _LEAST_AREA),
            color=colours[_part(group)],
            marker=_MARKERS[group.kind],
            alpha=0.7,
            linewidth=0,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="multiply-adds for each byte that must move",
        ylabel="GMAC/s",
        title=f"{layers.artifact} in {layers.precision}: peak {peak:.0f} GMAC/s, memory "
        f"{bandwidth:.1f} GB/s",
    )
    drawn = {_part(group) for group, _, _ in points}, {group.kind for group, _, _ in points}
    keys = [
        Line2D([], [], color=colours[part], marker="o", linestyle="", label=part)
        for part in _PARTS
        if part in drawn[0]
    ] + [
        Line2D([], [], color="0.3", marker=marker, linestyle="", label=kind)
        for kind, marker in _MARKERS.items()
        if kind in drawn[1]
    ]
    axes.legend(handles=keys, loc="lower right", fontsize=8, ncols=2)
    return figure


def _part(group: Group) -> str:
    """Return the part without the block: "stages.2"."""
    return group.part.rpartition(".")[0] or group.part
