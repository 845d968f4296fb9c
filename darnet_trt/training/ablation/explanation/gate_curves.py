"""Draw the depth gates of each stage along the slices as a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.evaluation.evidence import stride
from darnet_trt.evaluation.pictures import COLOURS, png
from darnet_trt.machine.files import as_text

Float = npt.NDArray[np.float32]
_DPI: Final = 120
_LEAST: Final = 0.05  # gates that lie closer together than this look alike


def draw_gates(
    name: str, depth: int, gates: Mapping[str, Sequence[Float]], lesions: Float | None
) -> bytes:
    """Draw one panel for each stage, a line for each network.

    Args:
        name: Of the scan.
        depth: Slices of the network's input.
        gates: By network, of each stage, (d of the stage,).
        lesions: Share of each slice of the input that is lesion, (d,); None where not known.
    """
    from matplotlib.figure import Figure  # no pyplot: it looks for a screen

    stages = len(next(iter(gates.values())))
    figure = Figure(figsize=(7.0, 1.9 * stages), dpi=_DPI, layout="constrained")
    # a scan's name may hold $…$, which is no mathematics
    title = f"{as_text(name)}: depth gates along the slices"
    figure.suptitle(title, fontsize=11, parse_math=False)
    panels = figure.subplots(stages, 1, sharex=True, squeeze=False)[:, 0]
    for number, axes in enumerate(panels):
        for (network, of_network), colour in zip(gates.items(), COLOURS, strict=False):
            values = of_network[number]
            places = stride(depth, len(values)) * np.arange(len(values))
            axes.plot(places, values, color=colour, marker="o", markersize=3, label=network)
        axes.set_ylabel(f"stage {number + 1}")
        low, high = axes.get_ylim()
        more = max(_LEAST - (high - low), 0) / 2
        axes.set_ylim(low - more, high + more)
        if lesions is not None:
            beside = axes.twinx()
            beside.fill_between(range(depth), 100 * lesions, color="0.6", alpha=0.35, linewidth=0)
            beside.set_ylim(bottom=0)
            beside.set_ylabel("lesion, %", color="0.4", fontsize=8)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside lower right")
    panels[-1].set_xlabel("slice of the network's input, foot to head")
    return png(figure)
