"""Draw the depth gates of each stage along the slices as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.evidence import stride
from darnet_trt.evaluation.fonts import lettering
from darnet_trt.evaluation.pictures import in_lines, line_style, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float = npt.NDArray[np.float32]
_DPI: Final = 120
_LETTERS: Final = 50
_LEAST: Final = 0.05  # gates that lie closer together than this look alike


def draw_gates(
    name: str,
    depth: int,
    gates: Mapping[str, Sequence[Float]],
    lesions: Float | None,
    note: str = "",
) -> bytes:
    """Draw one panel for each stage, a line for each network.

    Args:
        name: Of the scan.
        depth: Slices of the network's input.
        gates: By network, of each stage, (d of the stage,).
        lesions: Share of each slice of the input that is lesion, (d,); None where not known.
        note: From `shortcut_note`.
    """
    from matplotlib.figure import Figure  # no pyplot: it looks for a screen

    stages = len(next(iter(gates.values())))
    with lettering([name]) as written:
        figure = Figure(figsize=(7.0, 1.9 * stages), dpi=_DPI, layout="constrained")
        # a scan's name may hold $…$, which is no mathematics
        title = f"{_end_of(written(name))}: depth gates along the slices"
        figure.suptitle(f"{title}\n{in_lines(note)}".rstrip(), fontsize=10, parse_math=False)
        panels = figure.subplots(stages, 1, sharex=True, squeeze=False)[:, 0]
        for number, axes in enumerate(panels):
            for place, (network, of_network) in enumerate(gates.items()):
                values = of_network[number]
                places = 1 + stride(depth, len(values)) * np.arange(len(values))
                style = line_style(place, len(gates))
                axes.plot(places, values, **style, marker="o", markersize=4, label=network)
            axes.set_ylabel(f"stage {number + 1}")
            low, high = axes.get_ylim()
            more = max(_LEAST - (high - low), 0) / 2
            axes.set_ylim(low - more, high + more)
            if lesions is not None:
                _shade(axes, lesions)
        lines = panels[0].get_legend_handles_labels()
        figure.legend(*lines, fontsize=8, handlelength=5, loc="outside lower right", ncols=2)
        panels[-1].set_xlabel("slice of the network's input, foot to head")
        return png(figure)


def _shade(axes: Axes, lesions: Float) -> None:
    """Show the share of each slice that is lesion behind the lines."""
    beside = axes.twinx()
    beside.fill_between(range(1, len(lesions) + 1), 100 * lesions, color="0.85", linewidth=0)
    beside.set_ylim(bottom=0)
    beside.set_ylabel("lesion, %", color="0.4", fontsize=8)
    axes.set_zorder(beside.get_zorder() + 1)
    axes.patch.set_visible(False)  # it would hide what lies behind


def _end_of(name: str) -> str:
    """Return what of a name fits into the title: its end tells scans apart."""
    return name if len(name) <= _LETTERS else f"…{name[1 - _LETTERS :]}"
