"""`darnet-trt bench`: how fast a bundle's engines are on this machine."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.printing import print_line, print_table, say, warn

if TYPE_CHECKING:
    from darnet_trt.bundle.reading import Bundle
    from darnet_trt.runtime.bench.against.fidelity import Compared
    from darnet_trt.runtime.bench.benchmark import Benchmark
    from darnet_trt.runtime.bench.report.schema import BenchReport
    from darnet_trt.runtime.engines.loading import Engine
    from darnet_trt.runtime.engines.runner import Outputs, Runner

_SECONDS: Final = 30
_FAIL_ABOVE: Final = 1.05


def _complete_against(incomplete: str) -> list[str]:
    """Complete the last name of a comma-separated list."""
    from darnet_trt.export.peers import ENGINES

    before = incomplete.rpartition(",")[0].split(",") if "," in incomplete else []
    return [",".join([*before, name]) for name in ENGINES if name not in before]


def bench(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
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
            "processes."
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
            help="Of the time now over the baseline's: slower is what lies above. "
            f"[default: {_FAIL_ABOVE}]",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1,
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
        int | None, typer.Option(min=1, help="CPU threads. [default: one for each core]")
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

    All configurations take turns in one process, so that what slows the machine slows all of them;
    each is warmed up first, until its times settle. Percentiles and ratios have 95 % intervals, or
    the number of samples that one takes. Compare ratios of one run of bench, not times of two runs:
    a machine's speed changes. Ctrl-C keeps what was measured so far.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.errors import UsageError
    from darnet_trt.export.peers import peers_of
    from darnet_trt.runtime.bench.benchmark import Benchmark
    from darnet_trt.runtime.bench.report.table import against_baseline
    from darnet_trt.runtime.engines.loading import load_engine

    if seconds is not None and rounds is not None:
        raise UsageError("cannot go with --seconds", where="--rounds", do="give one of them")
    if fail_above is not None and baseline is None:
        raise UsageError("needs --baseline", where="--fail-above", do="give both")
    if seconds is None and rounds is None:
        seconds = _SECONDS
    batches = _batches(batch)
    words = peers_of(against or "")
    opened = open_bundle(bundle)
    with _folder(out):
        names: list[str] | list[None] = artifact or [None]
        engines = [load_engine(opened, name, threads=threads) for name in dict.fromkeys(names)]
        for warning in (warning for engine in engines for warning in engine.warnings):
            warn(f"warning: {warning}")
        runners = {engine.artifact.name: engine.runner for engine in engines}
        if no_cuda_graph and (unchanged := _without_graphs(runners)):
            warn(f"--no-cuda-graph changes nothing for {unchanged}: only plans have graphs")
        others, compared = _compare(
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
            command=shlex.join(["darnet-trt", *sys.argv[1:]]),
            notify=say,
        )
        if baseline is not None:
            measured.guard(baseline, fail_above or _FAIL_ABOVE)
        try:
            measured.measure(seconds=seconds, rounds=rounds)
        except BaseException:  # Ctrl-C too, or a signal that ends the process
            if measured.has_measured:
                _publish(measured, out, as_json, interrupted=True)
            raise
        found = _publish(measured, out, as_json).baseline
        if found is not None and found.verdict != "below":
            warn(f"{'failed' if found.verdict else 'not decided'}: {against_baseline(found)}")
            raise typer.Exit(1 if found.verdict else 2)


def _batches(given: str) -> list[int]:
    from darnet_trt.errors import UsageError

    words = [word.strip() for word in given.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise UsageError(
            f"{given!r} is not a list of numbers", where="--batch", do="write it as 1,2,4"
        )
    return list(dict.fromkeys(map(int, words)))


@contextmanager
def _folder(out: Path | None) -> Iterator[None]:
    """Check before long work that the report can be written into the folder, and lock it."""
    if out is None:
        yield
        return
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.errors import UsageError
    from darnet_trt.evaluation.pictures import need_matplotlib
    from darnet_trt.machine.files import sole_writer
    from darnet_trt.runtime.bench.report.files import REPORT

    if out.suffix == ".json":
        raise UsageError(
            "names a file, and bench writes a folder",
            where=out,
            do="name a folder, which gets report.json, or use --json > FILE",
        )
    refuse_bundle_or_cohort(out)
    if (out / REPORT).exists():
        raise UsageError(f"holds {REPORT} already", where=out, do="choose another folder")
    need_matplotlib()
    with sole_writer(out):
        yield


def _publish(
    measured: Benchmark, out: Path | None, as_json: bool, *, interrupted: bool = False
) -> BenchReport:
    """Write the report and print it; neither is lost where the other fails."""
    from darnet_trt.runtime.bench.report import files
    from darnet_trt.runtime.bench.report.table import untrusted

    report = measured.report(interrupted=interrupted)
    try:
        if out is not None:
            files.write(out, report, measured.traces)
            say(f"the report is in {out}")
    finally:
        if as_json:
            typer.echo(files.as_json(report))
            for line in untrusted(report):
                warn(f"warning: {line}")
        else:
            _show(report)
    return report


def _compare(
    bundle: Bundle,
    engines: list[Engine],
    words: list[str],
    scan: Path | None,
    threads: int | None,
    *,
    no_cuda_graph: bool,
) -> tuple[dict[str, Runner], Compared]:
    """Load the peers, and let all engines answer the same inputs; a single engine answers none."""
    from darnet_trt.export.peers import load_peers
    from darnet_trt.runtime.bench.against.fidelity import Compared, compared, questions
    from darnet_trt.runtime.bench.file_to_result.from_file import FromFile

    if len(engines) == 1 and not words:
        return {}, Compared()
    asked = questions(
        bundle, None if scan is None else FromFile("", bundle, scan, engines[0]).input()
    )
    say(f"first all engines answer the same inputs: {asked.source}")
    answers = {engine.artifact.name: asked.ask(engine.runner) for engine in engines}

    def ask(runner: Runner) -> Outputs:
        if no_cuda_graph:
            _without_graphs({"": runner})
        return asked.ask(runner)

    left_out: list[str] = []
    peers = load_peers(bundle, words, ask, threads=threads, left_out=left_out.append)
    for line in (*left_out, *(f"warning: {said}" for peer in peers for said in peer.warnings)):
        warn(line)
    own = [(engine.artifact.name, engine.runner) for engine in engines]
    own += [(peer.name, peer.runner) for peer in peers if peer.own]
    about, fidelity = compared(
        asked,
        answers | {peer.name: peer.answers for peer in peers},
        [name for name, runner in own if runner.precision == "fp32"],
    )
    warnings = {peer.name: peer.warnings for peer in peers}
    runners = {peer.name: peer.runner for peer in peers}
    return runners, Compared(about, fidelity, warnings, tuple(left_out))


def _without_graphs(runners: dict[str, Runner]) -> str:
    """Turn the CUDA graphs of plans off, before they run; return the names of the others."""
    from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner

    others = []
    for name, runner in runners.items():
        if isinstance(runner, TensorRTRunner):
            runner.without_graphs()
        else:
            others.append(name)
    return ", ".join(others)


def _show(report: BenchReport) -> None:
    from darnet_trt.runtime.bench.report.table import tables

    for index, table in enumerate(tables(report)):
        if index:
            print_line()
        for line in table.before:
            print_line(line)
        print_table(table.titles, table.rows)
        for line in table.after:
            print_line(line)
    if report.scan is None:
        print_line("give --scan PATH for file to result, start-up and memory")
