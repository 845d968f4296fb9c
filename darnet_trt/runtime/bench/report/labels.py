"""Put names beside the points of a plot, so that none covers another or a point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_POINTS: Final = 9  # size of a name
_MARGIN: Final = 6  # around a point's marker, in points
_DISTANCES: Final = (9, 18, 30, 44, 60, 80, 105)  # of a name from its point, in points
_ANGLES: Final = tuple(math.radians(angle) for angle in range(0, 360, 30))
_COVERS: Final = 1000
_CROSSES: Final = 100

Place = tuple[float, float]


class Named(NamedTuple):
    """A point with its name and the ends of its error bar, in data coordinates."""

    name: str
    x: float
    y: float
    low: float
    high: float


def put_names(
    figure: Figure, axes: Axes, points: Sequence[Named], lines: Sequence[tuple[Place, Place]]
) -> None:
    """Put each name where it covers nothing, as near to its point as possible.

    Args:
        figure: With all else in it: its layout must not change any more.
        axes: Of the points, with a legend.
        points: In the order in which they choose.
        lines: From place to place, in data coordinates; a name on a line is better than one on a
            name.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # only then is it known where everything lies
    legend = axes.get_legend()
    covered = [_around(axes, point, _MARGIN * figure.dpi / 72) for point in points]
    covered += [] if legend is None else [legend.get_window_extent()]
    crossed = [_along(axes, *line) for line in lines]
    for point in points:
        text = axes.annotate(
            point.name.replace("$", r"\$"),
            (point.x, point.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=_POINTS,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.7},
        )
        text.set_in_layout(False)
        at_point = text.get_window_extent(canvas.get_renderer())
        offset = _offset(at_point, covered, crossed, axes.get_window_extent(), figure.dpi / 72)
        text.set_position(offset)
        covered.append(at_point.translated(*(value * figure.dpi / 72 for value in offset)))


def _offset(
    name: Bbox,
    covered: Sequence[Bbox],
    crossed: Sequence[npt.NDArray[np.float64]],
    inside: Bbox,
    pixels: float,
) -> Place:
    """Return the best place of a name's centre from its point's, in points.

    Args:
        name: Its box if it lay on the point, in pixels.
        covered: What it must not cover.
        crossed: Places of lines that it should not cover, each (n, 2).
        inside: What it must not leave.
        pixels: In a point.
    """
    best: tuple[float, Place] = (math.inf, (0, 0))
    for distance in _DISTANCES:
        for angle in _ANGLES:
            right = round(math.cos(angle), 6)  # 0 above and below
            x = distance * right + name.width / 2 / pixels * right
            y = distance * math.sin(angle)
            box = name.translated(x * pixels, y * pixels)
            cost = distance + _COVERS * box.count_overlaps(covered)
            cost += _CROSSES * sum(box.count_contains(places) > 0 for places in crossed)
            cost += _COVERS * (inside.count_contains(box.corners()) < 4)
            if cost < best[0]:
                best = cost, (x, y)
    return best[1]


def _around(axes: Axes, point: Named, margin: float) -> Bbox:
    from matplotlib.transforms import Bbox

    ends = axes.transData.transform([(point.x, point.low), (point.x, point.high)])
    return Bbox(ends).padded(margin)


def _along(axes: Axes, start: Place, end: Place) -> npt.NDArray[np.float64]:
    first, last = axes.transData.transform([start, end])
    return np.linspace(np.asarray(first), np.asarray(last), 50)
