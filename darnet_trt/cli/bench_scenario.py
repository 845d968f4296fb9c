"""The options of `bench --scenario`: what goes with which, and the scenario that they ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from darnet_trt.cli.bench_against import without_graphs
from darnet_trt.cli.printing import say, warn
from darnet_trt.errors import UsageError
from darnet_trt.runtime.bench.scenarios import Scenario

if TYPE_CHECKING:
    from darnet_trt.bundle.reading import Bundle
    from darnet_trt.runtime.bench.scenarios.run import ScenarioRun

_PERCENTILE: Final = 99.0
_ONE: Final = ("single-stream",)
_IN_TURNS: Final = ("single-stream", "multi-stream", "offline")
_TAKEN_BY: Final[dict[str, Sequence[str]]] = {
    "--against": _ONE,
    "--baseline": _ONE,
    "--layers": _ONE,
    "--batch": _IN_TURNS,
    "--rounds": _IN_TURNS,
    "--concurrency": ("multi-stream", "offline", "server"),
    "--rate": ("server",),
    "--limit-ms": ("server",),
    "--percentile": ("server",),
    "--no-cuda-graph": (*_IN_TURNS, "server"),
}


def check_scenario(
    scenario: Scenario, given: Mapping[str, object], scan: Path | None, batches: Sequence[int]
) -> None:
    """Refuse what a scenario cannot use, or lacks.

    Args:
        scenario: Of the command line.
        given: Options with their values; None and False are not given.
        scan: Of the command line.
        batches: Likewise.

    Raises:
        UsageError: An option does not go with it, or one is missing.
    """
    for option, value in given.items():
        takers = _TAKEN_BY[option]
        if value not in (None, False) and scenario not in takers:
            others = f"{', '.join(takers[:-1])} or {takers[-1]}" if takers[1:] else takers[0]
            raise UsageError(
                f"does not go with --scenario {scenario}",
                where=option,
                do=f"leave it out, or take --scenario {others}",
            )
    if scenario != "single-stream" and scan is not None and batches != [1]:
        raise UsageError("cannot go with --scan", where="--batch", do="leave one of them out")
    if scenario == "burst" and scan is None:
        raise UsageError(
            "needs --scan", where="--scenario burst", do="name the folder of a DICOM series"
        )
    rate, limit_ms = given["--rate"], given["--limit-ms"]
    if rate is not None and limit_ms is not None:
        raise UsageError("cannot go with --limit-ms", where="--rate", do="give one of them")
    if scenario == "server" and rate is None and limit_ms is None:
        raise UsageError(
            "needs --rate or --limit-ms", where="--scenario server", do="give one of them"
        )
    if given["--percentile"] is not None and limit_ms is None:
        raise UsageError("needs --limit-ms", where="--percentile", do="give both")


def scenario_run(
    bundle: Bundle,
    scenario: Scenario,
    artifacts: Sequence[str | None],
    concurrency: Sequence[int] | None,
    batches: Sequence[int],
    scan: Path | None,
    *,
    rate: float | None,
    limit_ms: float | None,
    percentile: float | None,
    threads: int | None,
    no_cuda_graph: bool,
    command: str,
) -> ScenarioRun:
    """Load what a scenario needs; any but single-stream.

    Raises:
        DarnetError: Something that it needs is missing or cannot be used.
    """
    from darnet_trt.cli.serve_options import need_packages
    from darnet_trt.runtime.bench.scenarios.burst import read_series
    from darnet_trt.runtime.bench.scenarios.engines import load_streams
    from darnet_trt.runtime.bench.scenarios.limit import Limit
    from darnet_trt.runtime.bench.scenarios.run import Asked, ScenarioRun

    if scenario == "burst":
        need_packages()
    asked = Asked(
        scenario,
        batches,
        scan,
        slices=read_series(scan) if scenario == "burst" and scan is not None else (),
        rate_per_s=rate,
        limit=None
        if limit_ms is None
        else Limit(latency_ms=limit_ms, percent=percentile or _PERCENTILE),
    )
    engines = load_streams(
        bundle,
        artifacts,
        concurrency or [2 if scenario == "multi-stream" else 1],
        batches=batches,
        threads=threads,
        warn=warn,
    )
    if no_cuda_graph:
        without_graphs(
            one for by_count in engines.values() for streams in by_count.values() for one in streams
        )
    return ScenarioRun(
        bundle, engines, asked, threads=threads, command=command, notify=say, warn=warn
    )
