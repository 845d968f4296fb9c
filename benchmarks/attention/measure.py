"""Measure the rows of the attention benchmark: what is compared takes turns."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.attention.clocks import clocks_mhz
from benchmarks.attention.cuda_timing import Replay, from_python, replay_of, wake
from benchmarks.attention.tables import COPIED, ROW, Row, copy_name
from benchmarks.attention.tail import Run, Tail, copied_bytes, paper
from benchmarks.attention.traffic import map_bytes, problem
from darnet_trt.kernels.library import PHASES, Library, Problem, TensorType

WARM_UP_S = 0.3


def measure(
    tail: Tail, rivals: dict[str, Run], rounds: int, timed: Callable[[Run, int], Replay]
) -> dict[str, Any]:
    """Return median ms of the tail, its phases, copies and rivals, and what failed."""
    moved = {**tail.moved, "fused": sum(tail.moved.values())}
    runs: dict[str, Run] = {"fused": tail.kernels()}
    runs |= {name: tail.kernels(phase) for phase, name in enumerate(PHASES)}
    copied = {}
    for phase in COPIED:
        for way, copy in tail.copies(moved[phase]).items():
            runs[copy_name(way, phase)] = copy
            copied[copy_name(way, phase)] = copied_bytes(moved[phase])
    runs |= rivals
    for i in range(tail.sets):
        runs["fused"](i)  # each phase alone needs what those before it leave
    ready, failed = prepared(runs, tail.sets, timed)
    times = in_turns(ready, rounds)
    ms = {name: median(values) for name, values in times.items()}
    tail.poison()
    if "fused" in ready:
        ready["fused"].ms()
        if fault := tail.fault():
            failed["fused"] = fault
            del ms["fused"]
    return {
        "bytes": {**moved, **copied}, "ms": ms, "failed": failed, "samples_ms": times,
        "runs_in_a_turn": {name: one.runs for name, one in ready.items()},
        "launch_not_hidden": [name for name, one in ready.items() if not one.launch_hidden],
    }  # fmt: skip


def torch_rivals(tail: Tail) -> dict[str, Run]:
    """Return the same tail in torch: the paper's layers, and the project's operator."""
    import torch

    from darnet_trt.kernels.torch_operator import fused_attention

    if tail.p.x_type != "float16":
        return {}
    torch._dynamo.reset()  # no shape of an earlier row makes this one dynamic
    return {
        "torch eager": tail.torch(paper),
        "torch.compile": tail.torch(torch.compile(paper, dynamic=False)),
        "operator": tail.torch(fused_attention),
    }


def prepared(
    runs: dict[str, Run], sets: int, timed: Callable[[Run, int], Replay]
) -> tuple[dict[str, Replay], dict[str, str]]:
    """Return what can be timed, and why the rest cannot."""
    ready, failed = {}, {}
    for name, run in runs.items():
        try:
            ready[name] = timed(run, sets)
        except Exception as error:  # the others can still be timed
            failed[name] = one_line(error)
    return ready, failed


def in_turns(ready: dict[str, Replay], rounds: int) -> dict[str, list[float]]:
    """Return ms of each in every round, after a warm-up in which the clocks rise."""
    counted_from = time.monotonic() + WARM_UP_S
    while time.monotonic() < counted_from:
        for one in ready.values():
            one.ms()
    times: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        for name, one in ready.items():
            times[name].append(one.ms())
    return times


def measure_on_gpu(library: Library, rounds: int, p: Problem) -> dict[str, Any]:
    """Measure one row on the GPU, then the times with launches from Python, then the clocks."""
    import torch

    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    tail = Tail(library, p, "cuda", properties.L2_cache_size)
    rivals = torch_rivals(tail)
    wake()
    row = measure(tail, rivals, rounds, replay_of)
    clocks = clocks_mhz(f"GPU-{properties.uuid}" if hasattr(properties, "uuid") else "0")
    return row | {
        "sets_of_buffers": tail.sets,
        "map_bytes": map_bytes(p),
        "clocks_mhz": clocks,
        "from_python_ms": {
            name: from_python(run, tail.sets) for name, run in rivals.items() if name in row["ms"]
        },
    }


def measure_all(
    cases: Sequence[tuple[TensorType, int, str]],
    one: Callable[[Problem], dict[str, Any]],
    write: Callable[[list[Row]], None],
    limit_s: float,
) -> list[Row]:
    """Measure all rows and write after each; a row that fails or has no time left holds why."""
    end = time.monotonic() + limit_s
    rows: list[Row] = []
    for kind, batch, stage in cases:
        row: Row = {"type": kind, "batch": batch, "stage": stage, "ms": {}, "failed": {}}
        if time.monotonic() >= end:
            row["failed"] = {ROW: f"no time left within {limit_s:.0f} s"}
        else:
            try:
                row |= one(problem(stage, batch, kind))
            except Exception as error:  # out of memory, or an error of CUDA's
                row["failed"] = {ROW: one_line(error)}
        rows.append(row)
        write(rows)
        fused = row["ms"].get("fused")
        said = f"{fused * 1e3:.1f} µs" if fused else row["failed"].get(ROW, "no result")
        print(f"{kind} batch {batch} {stage}: {said}", file=sys.stderr, flush=True)
    return rows


def one_line(error: Exception) -> str:
    """Return an error as one line of a report."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:200]  # a compiler's cause is second
