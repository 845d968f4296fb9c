"""The fused attention tail against torch and against the memory's speed.

    python benchmarks/attention.py [--batch 1,4,8] [--rounds 20] [--json] [-o FILE]

On a GPU, for the four stages of the paper's network: bytes/s of each phase against a device-to-
device copy that moves as many bytes, and the fused tail against torch eager and torch.compile
running the paper's layers, and against the sum of its own phases. Needs torch and nvcc.

How it is measured: whatever is compared takes turns, `rounds` times, and medians and their ratios
are printed. One turn replays a CUDA graph, timed by CUDA events, so that no launch from Python is
in it: torch eager is measured at its best, too. The graph goes through sets of buffers whose inputs
x alone are together `L2_TIMES` times the L2 cache (one set where one map is), so that no run finds
its input there; within one run of the tail the second pass may find what the first one left, as in
the network. Torch has no int8 tail: int8 is compared with copies alone.

Without a GPU it says so and prints bytes and launches from the source's own accounting.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from traffic import BLOCKS, COMPILED, EAGER, STAGES, fused, map_bytes, problem, unfused

from darnet_trt.errors import BuildError
from darnet_trt.kernels.build import build_library
from darnet_trt.kernels.library import PHASES, Library, Problem, architecture

L2_TIMES = 2
KINDS = ("float16", "int8")
COPY_SHARE = 0.85  # of the copy's bandwidth, pool and apply, stages 1 and 2
AGAINST = {"torch eager": 2.5, "torch.compile": 1.3}  # times faster, sum of the eight blocks


# --- without a GPU -------------------------------------------------------------------------------


def accounting(library: Library, batches: list[int]) -> list[dict[str, Any]]:
    """Bytes and launches of one block, by type, stage, batch and variant."""
    rows = []
    for kind in KINDS:
        for batch in batches:
            for stage in STAGES:
                p = problem(stage, batch, kind)
                variants = {
                    "fused": fused(library, p),
                    "compiled, at its best": unfused(COMPILED, p),
                    "torch eager": unfused(EAGER, p),
                }
                rows += [
                    {
                        "type": kind, "stage": stage, "batch": batch, "variant": name,
                        "map_bytes": map_bytes(p), "bytes_read": t.read,
                        "bytes_written": t.written, "launches": t.kernels,
                    }
                    for name, t in variants.items()
                ]  # fmt: skip
    return rows


def accounting_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one block a row, the eight blocks last; MB = 10⁶ bytes."""
    lines = []
    for kind in KINDS:
        for batch in sorted({row["batch"] for row in rows}):
            some = [r for r in rows if r["type"] == kind and r["batch"] == batch]
            names = list(dict.fromkeys(r["variant"] for r in some))
            lines += [
                f"{kind}, batch {batch}: MB moved by one block's tail (launches)",
                "",
                "| | the map | " + " | ".join(names) + " | eager / fused | compiled / fused |",
                "| --- |" + " ---: |" * (len(names) + 3),
            ]
            total = dict.fromkeys(names, (0, 0))
            for stage in STAGES:
                here = {r["variant"]: r for r in some if r["stage"] == stage}
                cells = []
                for name in names:
                    moved = here[name]["bytes_read"] + here[name]["bytes_written"]
                    launches = here[name]["launches"]
                    cells.append((moved, launches))
                    total[name] = (
                        total[name][0] + BLOCKS * moved,
                        total[name][1] + BLOCKS * launches,
                    )
                lines.append(_row(stage, f"{here['fused']['map_bytes'] / 1e6:.1f}", cells))
            lines += [_row("eight blocks", "", list(total.values())), ""]
    return "\n".join(lines)


def _row(name: str, first: str, cells: list[tuple[int, int]]) -> str:
    fused_bytes, compiled, eager = (moved for moved, _ in cells)
    shown = " | ".join(f"{moved / 1e6:.1f} ({launches})" for moved, launches in cells)
    ratios = f"{eager / fused_bytes:.2f} | {compiled / fused_bytes:.2f}"
    return f"| {name} | {first} | {shown} | {ratios} |"


# --- on a GPU ------------------------------------------------------------------------------------


def paper(x: Any, residual: Any, channel: list[Any], depth: list[Any]) -> Any:
    """The paper's layers one after the other, as `training/model.py` has them."""
    from torch.nn.functional import linear

    z = x.mean((2, 3, 4))
    gate = linear(linear(z, channel[0], channel[1]).relu(), channel[2], channel[3]).sigmoid()
    x = x * gate[:, :, None, None, None]
    z = x.mean((3, 4))
    z1 = linear(z.flatten(1), depth[0], depth[1]).relu()
    x = x * linear(z1, depth[2], depth[3]).sigmoid().view(*z.shape, 1, 1)
    return (x + residual).relu()


class Tail:
    """One problem's buffers on the GPU, in several sets, and what is timed on them."""

    def __init__(self, library: Library, p: Problem) -> None:
        import torch

        self.library, self.p = library, p
        self.size = library.workspace_bytes(p)
        l2 = torch.cuda.get_device_properties(0).L2_cache_size
        self.sets = -(-L2_TIMES * l2 // map_bytes(p))
        dtype = torch.int8 if p.x_type == "int8" else torch.float16

        def feature_map() -> Any:  # (n d h w c)
            values = torch.randn(p.n, p.d, p.h, p.w, p.c, device="cuda", dtype=torch.float16)
            return (values * 40).clamp(-128, 127).to(dtype) if dtype == torch.int8 else values

        self.x = [feature_map() for _ in range(self.sets)]
        self.residual = [feature_map() for _ in range(self.sets)]
        self.y = [torch.empty_like(x) for x in self.x]
        self.workspace = torch.empty(self.size, device="cuda", dtype=torch.uint8)
        costs = [library.cost(p, phase) for phase in range(len(PHASES))]
        self.moved = [cost.bytes_read + cost.bytes_written for cost in costs]
        shape = (2, self.sets, sum(self.moved) // 2)
        self.of, self.to = torch.randint(0, 256, shape, device="cuda", dtype=torch.uint8)
        features = p.c * p.d
        self.channel = self._gate(p.c, p.channel_hidden)
        self.depth = self._gate(features, p.depth_hidden)

    @staticmethod
    def _gate(features: int, hidden: int) -> list[Any]:
        import torch

        shapes = ((hidden, features), (hidden,), (features, hidden), (features,))
        scales = (features**-0.5, 0.5, hidden**-0.5, 0.5)
        return [
            torch.randn(shape, device="cuda", dtype=torch.float16) * scale
            for shape, scale in zip(shapes, scales, strict=True)
        ]

    def kernels(self, phase: int | None = None) -> Callable[[int], None]:
        """The library's launch on a set of buffers, or one phase of it."""
        import torch

        gates = [tuple(t.data_ptr() for t in gate) for gate in (self.channel, self.depth)]

        def run(i: int) -> None:
            self.library.launch(
                self.p,
                x=self.x[i].data_ptr(),
                residual=self.residual[i].data_ptr(),
                channel=gates[0],  # type: ignore[arg-type]
                depth=gates[1],  # type: ignore[arg-type]
                y=self.y[i].data_ptr(),
                workspace=self.workspace.data_ptr(),
                workspace_bytes=self.size,
                stream=torch.cuda.current_stream().cuda_stream,
                phase=phase,
            )

        return run

    def copy(self, moved: int) -> Callable[[int], None]:
        """A device-to-device copy that reads and writes `moved` bytes together."""
        return lambda i: self.to[i][: moved // 2].copy_(self.of[i][: moved // 2])

    def torch(self, function: Callable[..., Any]) -> Callable[[int], None]:
        """The paper's layers in torch, in the same memory order."""
        x = [t.permute(0, 4, 1, 2, 3) for t in self.x]
        residual = [t.permute(0, 4, 1, 2, 3) for t in self.residual]
        return lambda i: function(x[i], residual[i], self.channel, self.depth)


def graph_of(run: Callable[[int], None], sets: int) -> Callable[[], float]:
    """Capture a pass over all sets; returns a function that replays it: ms of one run."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():
        for i in range(sets):
            run(i)  # lazily made handles and compiled kernels are not captured
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            for i in range(sets):
                run(i)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def replay() -> float:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / sets

    return replay


def from_python(run: Callable[[int], None], sets: int, calls: int = 20) -> float:
    """ms a call when launched from Python, one after the other."""
    import torch

    with torch.no_grad():
        run(0)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for i in range(calls):
            run(i % sets)
        end.record()
        end.synchronize()
    return float(start.elapsed_time(end)) / calls


def measure(library: Library, kind: str, stage: str, batch: int, rounds: int) -> dict[str, Any]:
    """One row: median ms of everything that is compared, for one block's tail."""
    import torch

    from darnet_trt.kernels.torch_operator import fused_attention

    p = problem(stage, batch, kind)  # type: ignore[arg-type]
    tail = Tail(library, p)
    moved = tail.moved
    runs = {"fused": tail.kernels()}
    runs |= {name: tail.kernels(phase) for phase, name in enumerate(PHASES)}
    runs |= {f"copy as {PHASES[phase]}": tail.copy(moved[phase]) for phase in (0, 2)}
    runs["copy as fused"] = tail.copy(sum(moved))
    called: dict[str, Callable[[int], None]] = {}
    if kind == "float16":
        torch._dynamo.reset()  # no shape of an earlier row makes this one dynamic
        compiled = torch.compile(paper, dynamic=False)
        called = {
            "torch eager": tail.torch(paper),
            "torch.compile": tail.torch(compiled),
            "operator": tail.torch(fused_attention),
        }
        runs |= called
    for i in range(tail.sets):
        runs["fused"](i)
    torch.cuda.synchronize()
    replays = {name: graph_of(run, tail.sets) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in replays}
    for replay in replays.values():
        replay()
    for _ in range(rounds):
        for name, replay in replays.items():
            times[name].append(replay())
    ms = {name: median(values) for name, values in times.items()}
    return {
        "type": kind, "stage": stage, "batch": batch, "sets_of_buffers": tail.sets,
        "map_bytes": map_bytes(p), "bytes": dict(zip(PHASES, moved, strict=True)),
        "ms": ms, "samples_ms": times,
        "from_python_ms": {name: from_python(run, tail.sets) for name, run in called.items()},
        "bytes_per_s": {
            name: bytes_ / ms[name] * 1e3
            for name, bytes_ in (*zip(PHASES, moved, strict=True), ("fused", sum(moved)))
        },
        "share_of_copy": {
            name: ms[f"copy as {name}"] / ms[name] for name in ("pool", "apply", "fused")
        },
    }  # fmt: skip


def measure_all(library: Library, batches: list[int], rounds: int) -> list[dict[str, Any]]:
    """All rows; one that does not fit the GPU's memory says so."""
    import torch

    rows = []
    for kind in KINDS:
        for batch in batches:
            for stage in STAGES:
                print(f"{kind} batch {batch} {stage}", file=sys.stderr, flush=True)
                try:
                    rows.append(measure(library, kind, stage, batch, rounds))
                except torch.cuda.OutOfMemoryError:
                    rows.append(
                        {"type": kind, "stage": stage, "batch": batch, "failed": "out of memory"}
                    )
                torch.cuda.empty_cache()
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, two tables: the phases against copies, the tail against torch. Times in µs."""
    phases, rivals = [], []
    for row in rows:
        name = [row["type"], str(row["batch"]), row["stage"]]
        if "failed" in row:
            phases.append([*name, row["failed"]])
            continue
        us = {k: v * 1e3 for k, v in row["ms"].items()}
        summed = sum(us[phase] for phase in PHASES)
        phases.append(
            [*name, *(f"{us[k]:.1f}" for k in PHASES), f"{summed:.1f}", f"{us['fused']:.1f}"]
            + [f"{row['bytes_per_s'][k] / 1e9:.0f}" for k in ("pool", "apply")]
            + [f"{row['share_of_copy'][k]:.0%}" for k in ("pool", "apply", "fused")]
        )
        if python := row["from_python_ms"]:
            rivals.append(
                [*name, *(f"{us[k]:.1f}" for k in ("fused", *AGAINST))]
                + [f"{us[k] / us['fused']:.2f}" for k in AGAINST]
                + [f"{python[k] * 1e3:.1f}" for k in ("operator", *AGAINST)]
            )
    return "\n\n".join(
        (
            _markdown(
                "type, batch, stage, pool, gate, apply, their sum, fused, pool GB/s, apply GB/s, "
                "pool / copy, apply / copy, fused / copy",
                phases,
            ),
            _markdown(
                "type, batch, stage, fused, torch eager, torch.compile, eager / fused, "
                "compile / fused, from Python: operator, torch eager, torch.compile",
                rivals,
            ),
        )
    )


def _markdown(head: str, rows: list[list[str]]) -> str:
    names = head.split(", ")
    lines = [names, ["---"] * 3 + ["---:"] * (len(names) - 3)]
    lines += [row + [""] * (len(names) - len(row)) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was to be reached, and whether it was."""
    found = []
    whole = [row for row in rows if "failed" not in row]
    for kind in KINDS:
        for stage in ("stage 1", "stage 2"):
            shares = [
                (row["share_of_copy"][phase], phase, row["batch"])
                for row in whole
                if row["type"] == kind and row["stage"] == stage
                for phase in ("pool", "apply")
            ]
            if shares:
                share, phase, batch = min(shares)
                found.append(
                    _target(
                        f"{kind} {stage}: bandwidth / the copy's (least: {phase}, batch {batch})",
                        share,
                        COPY_SHARE,
                    )
                )
    for batch in dict.fromkeys(row["batch"] for row in whole):
        some = [r for r in whole if r["type"] == "float16" and r["batch"] == batch]
        if len(some) < len(STAGES):
            continue
        for rival, limit in AGAINST.items():
            ratio = sum(r["ms"][rival] for r in some) / sum(r["ms"]["fused"] for r in some)
            found.append(
                _target(f"float16 batch {batch}, eight blocks: {rival} / fused", ratio, limit)
            )
    return found


def _target(what: str, found: float, limit: float) -> dict[str, Any]:
    return {"what": what, "found": found, "limit": limit, "reached": found >= limit}


def main() -> int:
    """Measure, or account; exit code 1 where a target was measured and not reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--batch", default="1,4,8", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    parser.add_argument("-o", "--out", type=Path, help="write everything as JSON")
    arguments = parser.parse_args()
    batches = [int(batch) for batch in arguments.batch.split(",")]

    try:
        import torch

        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    except ImportError:
        gpu = None
    content: dict[str, Any] = {"gpu": gpu}
    if gpu is None:
        try:
            library = Library(build_library("cpu"))
        except BuildError as error:
            sys.exit(f"attention: no GPU to measure on, and the accounting needs g++: {error}")
        content["accounting"] = accounting(library, batches)
        text = (
            "No NVIDIA GPU that torch sees: nothing is measured. Bytes that must cross the memory "
            "bus, from\nthe kernels' own accounting and, counted the same way, for the paper's "
            "layers unfused.\n\n" + accounting_table(content["accounting"])
        )
    else:
        from darnet_trt.kernels.torch_operator import kernels_for

        here = architecture(torch.cuda.get_device_capability())
        build_library("cuda", [here])  # for the operator, too
        library = kernels_for(torch.device("cuda", torch.cuda.current_device()))
        if library is None:
            sys.exit("attention: the kernels that were built do not run on this GPU")
        rows = measure_all(library, batches, arguments.rounds)
        content |= {
            "torch": torch.__version__,
            "l2_bytes": torch.cuda.get_device_properties(0).L2_cache_size,
            "rows": rows,
            "targets": targets(rows),
        }
        lines = [
            f"{gpu}, torch {torch.__version__}; µs of one block's tail, medians of "
            f"{arguments.rounds} turns; L2 {content['l2_bytes'] / 2**20:.0f} MiB, buffers rotated",
            "",
            table(rows),
            "",
        ]
        for t in content["targets"]:
            verdict = "reached" if t["reached"] else "NOT reached"
            lines.append(f"- {t['what']}: {t['found']:.2f}, at least {t['limit']:g}: {verdict}")
        text = "\n".join(lines)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2) if arguments.json else text)
    return 0 if all(t["reached"] for t in content.get("targets", ())) else 1


if __name__ == "__main__":
    sys.exit(main())
