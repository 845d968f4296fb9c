"""Choose the faster of several plans of one engine: with the plugin in a layout, and without it.

On a machine with the plans' GPU they run in turns. Elsewhere the tables of their layers decide: the
bytes that a run moves and the launches that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import Artifact
from darnet_trt.bundle.plan import Work
from darnet_trt.errors import DarnetError
from darnet_trt.export.gates.timing import time_in_turns
from darnet_trt.runtime.engines.tensorrt.runner import open_plan

LAUNCH_BYTES: Final = 2_000_000
"""The bytes that a launch is worth: 2 µs between two kernels, in which 1 TB/s moves 2 MB. An
assumption: a larger GPU moves more in that time, and in a CUDA graph the time is shorter."""


@dataclass(frozen=True)
class Choice:
    """The plan to keep.

    Attributes:
        name: Of the plan.
        why: One line for the log and the manifest.
    """

    name: str
    why: str


def choose(plans: Mapping[str, tuple[Artifact, Path]], volume: npt.NDArray[np.float32]) -> Choice:
    """Choose by time among those that run here; if none does, by their tables.

    Args:
        plans: Each plan and its file, by a name such as "with the plugin".
        volume: An input, (1, 1, d, h, w).
    """
    failed: dict[str, str] = {}
    runs: dict[str, Callable[[], object]] = {}
    with ExitStack() as opened:
        for name, (plan, file) in plans.items():
            try:
                runner = open_plan(plan, file)
                opened.callback(runner.close)
                runner.infer(volume)
            except DarnetError as error:
                failed[name] = error.what
            else:
                runs[name] = partial(runner.infer, volume)
        if runs:
            choice = by_time(runs)
            others = (f"; {name}: does not run here ({why})" for name, why in failed.items())
            return Choice(choice.name, choice.why + "".join(others))
    works = {n: None if plan.plan is None else plan.plan.work for n, (plan, _) in plans.items()}
    return by_work(works, not_timed=next(iter(failed.values())))


def by_time(runs: Mapping[str, Callable[[], object]]) -> Choice:
    """Run the plans in turns; the smallest median wins."""
    traces = time_in_turns(runs, on_gpu=runs)
    ms = {name: trace.median_ms for name, trace in traces.items()}
    name = min(ms, key=lambda name: ms[name])
    rounds = len(traces[name].queries)
    each = ", ".join(f"{name} {value:.3f} ms" for name, value in ms.items())
    return Choice(name, f"built {name}: {each} (median of {rounds} runs in turns)")


def by_work(works: Mapping[str, Work | None], *, not_timed: str) -> Choice:
    """Compare bytes and launches; a launch is worth `LAUNCH_BYTES`.

    Args:
        works: Of each plan. If a table is not known, the last plan is chosen.
        not_timed: The reason.
    """
    known = {name: work for name, work in works.items() if work is not None}
    if len(known) < len(works):
        name = list(works)[-1]
        why = f"the builder printed no table of layers, and not timed: {not_timed}"
        return Choice(name, f"built {name}: {why}")
    name = min(known, key=lambda name: _moved(known[name]) + LAUNCH_BYTES * known[name].launches)
    each = ", ".join(
        f"{name} {_moved(work) / 1e6:.4g} MB and {work.launches} launches"
        for name, work in known.items()
    )
    return Choice(
        name,
        f"built {name}: {each}; from the plans' tables, a launch counted as "
        f"{LAUNCH_BYTES / 1e6:g} MB; not timed: {not_timed}",
    )


def _moved(work: Work) -> int:
    return work.activations + work.read_again + work.weights
