"""`darnet-trt bench`: how fast a bundle's engines are on this machine."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from darnet_trt.cli.bench_against import compare, without_graphs
from darnet_trt.cli.bench_output import folder, measure
from darnet_trt.cli.bench_scenario import check_scenario, scenario_run
from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.number_range import numbers
from darnet_trt.cli.printing import say, warn
from darnet_trt.machine.cpus import MOST_THREADS
from darnet_trt.runtime.bench.scenarios import Scenario

_SECONDS: Final = 30
_FAIL_ABOVE: Final = 1.05


def _complete_against(incomplete: str) -> list[str]:
    """Complete the last name of a comma-separated list."""
    from darnet_trt.export.peers import ENGINES

    before = incomplete.rpartition(",")[0].split(",") if "," in incomplete else []
    return [",".join([*before, name]) for name in ENGINES if name not in before]


def bench(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    scenario: Annotated[
        Scenario,
        typer.Option(
            help="How queries come. single-stream: one after the other. multi-stream: to all "
            "streams at once. offline: to each stream as soon as it has answered. server: at "
            "random times, with --rate or --limit-ms. burst: slices from a scanner to the service, "
            "with --scan. The configurations of server and burst run one after the other, the "
            "others in turns."
        ),
    ] = "single-stream",
    artifact: Annotated[
        list[str] | None,
        typer.Option(
            autocompletion=artifacts,
            help="Engine to measure, named as in bundle show; repeatable. Ratios are relative to "
            "the first. [default: the bundle's default engine]",
            show_default=False,
        ),
    ] = None,
    scan: Annotated[
        Path | None,
        typer.Option(
            help="Also measure this scan from files to result, by stage and in a run of many; what "
            "takes the time on its way to the network's input; start-up and memory of new "
            "processes. In other scenarios than single-stream: from files to result instead of "
            "engine only."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="PEER,…",
            autocompletion=_complete_against,
            help="Also time these, and compare the answers: the network in onnxruntime, openvino, "
            "torch, torch-compile or torch-fused, each as its documentation recommends; or another "
            "bundle, FOLDER or FOLDER:ARTIFACT. What cannot run is left out. Engine time only. "
            "torch-fused runs on a CUDA device if there is one, the other engines on the CPU.",
        ),
    ] = None,
    batch: Annotated[
        str,
        typer.Option(
            metavar="N,…",
            help="Volumes in a query, comma-separated; shows the throughput. Engine time only.",
        ),
    ] = "1",
    concurrency: Annotated[
        str | None,
        typer.Option(
            metavar="N,…",
            help="Streams side by side, comma-separated, each with an engine and its share of the "
            "CPU threads: multi-stream, offline, server. [default: 1; multi-stream: 2]",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=100_000,
            help="For server: queries a second, on average; shows their latency.",
            show_default=False,
        ),
    ] = None,
    limit_ms: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=86_400_000,
            help="For server: find the highest rate at which --percentile of the queries are "
            "answered within it.",
            show_default=False,
        ),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option(
            min=50,
            max=99.9,
            help="How many of the queries must keep to --limit-ms, in percent. 90 takes a tenth of "
            "the queries that 99 takes. [default: 99]",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            help="Also show which part of the network takes how much of each engine's time, by its "
            "own profiler, and what bounds it.",
        ),
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Compare the first engine with an earlier run's -o, on the same machine, until it "
            "is known whether it is slower. Exit code 1: slower. 2: not known in --seconds.",
        ),
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=100,
            help="Slower means: the first engine's time divided by the baseline's is above this. "
            f"[default: {_FAIL_ABOVE}]",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=86_400,
            help="Time for each configuration, warm-up included; each gets at least 3 turns. "
            f"[default: {_SECONDS}]",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Turns of each configuration, instead of --seconds. A turn takes half a second, "
            "or one query if that takes longer.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="CPU threads. [default: one for each core]"),
    ] = None,
    no_cuda_graph: Annotated[
        bool,
        typer.Option(
            "--no-cuda-graph",
            help="Queue the kernels of TensorRT plans one by one. [default: launch them together "
            "as a CUDA graph, as predict does]",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Also write report.json, report.md, samples.csv (every query) and plots as PNG "
            "and SVG to this folder. Needs the extra plots.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of the table.")
    ] = False,
) -> None:
    """Measure how fast a bundle's engines are, how sure that is, and against what.

    The configurations of a single stream take turns in one process, so that what slows the machine
    slows all of them; each is warmed up first, until its times settle. Percentiles and ratios have
    95 % intervals; where the samples are too few, the table says so. Compare ratios of one run of
    bench, not times of two runs: a machine's speed changes. Ctrl-C keeps what was measured so far.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.errors import UsageError
    from darnet_trt.export.peers import peers_of
    from darnet_trt.machine.archives import archive_of
    from darnet_trt.runtime.bench.benchmark import Benchmark
    from darnet_trt.runtime.bench.report.table import against_baseline
    from darnet_trt.runtime.engines.loading import load_engine

    if scan is not None and not scan.exists() and archive_of(scan) is None:
        raise UsageError("no such file or folder", where=f"--scan {scan}", do="check the path")
    if seconds is not None and rounds is not None:
        raise UsageError("cannot go with --seconds", where="--rounds", do="give one of them")
    if fail_above is not None and baseline is None:
        raise UsageError("needs --baseline", where="--fail-above", do="give both")
    batches = numbers(batch, "--batch")
    given = {
        "--against": against,
        "--baseline": baseline,
        "--layers": layers,
        "--batch": batches != [1],
        "--rounds": rounds,
        "--concurrency": concurrency,
        "--rate": rate,
        "--limit-ms": limit_ms,
        "--percentile": percentile,
        "--no-cuda-graph": no_cuda_graph,
    }
    check_scenario(scenario, given, scan, batches)
    if seconds is None and rounds is None:
        seconds = _SECONDS
    streams = None if concurrency is None else numbers(concurrency, "--concurrency")
    words = peers_of(against or "")
    opened = open_bundle(bundle)
    command = shlex.join(["darnet-trt", *sys.argv[1:]])
    with folder(out):
        names: list[str] | list[None] = list(dict.fromkeys(artifact)) if artifact else [None]
        if scenario != "single-stream":
            run = scenario_run(
                opened,
                scenario,
                names,
                streams,
                batches,
                scan,
                rate=rate,
                limit_ms=limit_ms,
                percentile=percentile,
                threads=threads,
                no_cuda_graph=no_cuda_graph,
                command=command,
            )
            measure(run, out, as_json, seconds=seconds, rounds=rounds)
            return
        engines = [load_engine(opened, name, threads=threads) for name in names]
        for warning in (warning for engine in engines for warning in engine.warnings):
            warn(f"warning: {warning}")
        if no_cuda_graph:
            without_graphs(engines)
        others, compared = compare(
            opened, engines, words, scan, threads, no_cuda_graph=no_cuda_graph
        )
        measured = Benchmark(
            opened,
            engines,
            against=others,
            compared=compared,
            scan=scan,
            batches=batches,
            layers=layers,
            threads=threads,
            command=command,
            notify=say,
        )
        if baseline is not None:
            measured.guard(baseline, fail_above or _FAIL_ABOVE)
        found = measure(measured, out, as_json, seconds=seconds, rounds=rounds).baseline
        if found is not None and found.verdict != "below":
            warn(f"{'failed' if found.verdict else 'not decided'}: {against_baseline(found)}")
            raise typer.Exit(1 if found.verdict else 2)
