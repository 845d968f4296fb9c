"""`darnet-trt bench`: how fast a bundle's engines are on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.printing import print_line, print_table, say, warn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from darnet_trt.bundle.reading import Bundle
    from darnet_trt.runtime.bench.report import BenchReport
    from darnet_trt.runtime.bench.timing import Latency
    from darnet_trt.runtime.engines.runner import Runner

_AGAINST: Final = ("torch", "torch-compile", "torch-fused", "onnxruntime", "openvino")


def _complete_against(incomplete: str) -> list[str]:
    """Complete the last name of a comma-separated list."""
    before = incomplete.rpartition(",")[0].split(",") if "," in incomplete else []
    return [",".join([*before, name]) for name in _AGAINST if name not in before]


def bench(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    artifact: Annotated[
        list[str] | None,
        typer.Option(
            autocompletion=artifacts,
            help="Engine to time, named as in bundle show; repeatable. Ratios are relative to the "
            "first. [default: the bundle's default engine]",
            show_default=False,
        ),
    ] = None,
    scan: Annotated[
        Path | None,
        typer.Option(
            help="Also time this scan from files to result, by stage and in a batch, and measure "
            "start-up and memory."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            autocompletion=_complete_against,
            help=f"Also time these, comma-separated: {', '.join(_AGAINST)}. In float32, engine "
            "time only. torch-fused runs on a CUDA device if there is one, the others on the CPU.",
        ),
    ] = None,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            help="Rounds. In each an engine on the CPU runs once, so that p90 needs 10 and p99 "
            "100. One on a GPU warms up for 0.2 s, then every run of 0.5 s is timed.",
        ),
    ] = 10,  # at the paper's size a run of one CPU engine takes 1.4 to 10 seconds
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
            "--out", "-o", metavar="FILE", help="Also write the report as JSON to this file."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of the table.")
    ] = False,
) -> None:
    """Measure latency, start-up and memory of a bundle's engines, with the code of `predict`.

    The engines take turns in one process, after one untimed run each. Compare ratios of one run
    of bench, not times of two runs: a machine's speed changes. On a busy machine the ratios are
    marked.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.machine.files import check_file_place
    from darnet_trt.runtime.bench.report import benchmark
    from darnet_trt.runtime.engines.loading import load_engine

    if out is not None:
        check_file_place(out)
    opened = open_bundle(bundle)
    rivals = _rivals(against)
    names: list[str] | list[None] = artifact or [None]
    engines = [load_engine(opened, name, threads=threads) for name in dict.fromkeys(names)]
    for warning in (warning for engine in engines for warning in engine.warnings):
        warn(f"warning: {warning}")
    others = {name: _rival(opened, name, threads) for name in rivals}
    if no_cuda_graph:
        _without_graphs({e.artifact.name: e.runner for e in engines} | others)
    report = benchmark(
        opened,
        engines,
        against=others,
        scan=scan,
        rounds=rounds,
        threads=threads,
        notify=say,
    )
    # json escapes names that are not UTF-8, at which model_dump_json fails
    content = json.dumps(report.model_dump(mode="json"), indent=2)
    if out is not None:
        from darnet_trt.machine.files import whole_file

        with whole_file(out) as file:
            file.write(content.encode() + b"\n")
    if as_json:
        typer.echo(content)
        if report.busy:
            warn(f"warning: {_untrusted(report)}")
    else:
        _show(report)


def _rivals(against: str | None) -> list[str]:
    from darnet_trt.errors import UsageError

    names = [name.strip() for name in (against or "").split(",") if name.strip()]
    for name in names:
        if name not in _AGAINST:
            raise UsageError(
                f"unknown engine {name!r}",
                where="--against",
                do=f"choose from {', '.join(_AGAINST)}",
            )
    return list(dict.fromkeys(names))


def _rival(bundle: Bundle, name: str, threads: int | None) -> Runner:
    """Load the bundle's network in float32 in another engine; every bundle has its ONNX file."""
    from darnet_trt.bundle.manifest import MODEL_FILE
    from darnet_trt.bundle.reading import verified_file

    model = verified_file(bundle, MODEL_FILE)
    if name == "onnxruntime":
        from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner

        return OnnxRuntimeRunner(model, threads=threads)
    if name == "openvino":
        from tempfile import TemporaryDirectory

        from darnet_trt.machine.hardware import require_packages

        require_packages("onnx", extra="train")
        import onnx

        from darnet_trt.kernels.onnx_inline import inlined
        from darnet_trt.runtime.engines.openvino.conversion import build_openvino
        from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner

        with TemporaryDirectory() as folder:  # the bundle may not have been built for OpenVINO
            xml, _ = build_openvino(inlined(onnx.load(model)), Path(folder))
            return OpenVINORunner(xml, precision="fp32", threads=threads)
    from darnet_trt.export.gates.reference import Mode, TorchRunner

    modes: dict[str, Mode] = {"torch-compile": "compiled", "torch-fused": "fused"}
    return TorchRunner.from_onnx(model, threads=threads, mode=modes.get(name, "eager"))


def _without_graphs(runners: dict[str, Runner]) -> None:
    from darnet_trt.runtime.engines.tensorrt.runner import TensorRTRunner

    others = []
    for name, runner in runners.items():
        if isinstance(runner, TensorRTRunner):
            runner.without_graphs()
        else:
            others.append(name)
    if others:
        warn(f"--no-cuda-graph changes nothing for {', '.join(others)}: only plans have graphs")


def _show(report: BenchReport) -> None:
    cpu, rounds = report.environment.cpu, report.rounds
    print_line(
        f"{cpu.name}, {cpu.cores} cores, {cpu.memory_gib} GiB, load "
        f"{report.environment.load_1min}; bundle {report.bundle_sha256[:12]}"
    )
    print_line(
        f"{rounds} round{'s' * (rounds != 1)} in which the engines take turns, "
        f"{report.pause_ms} ms pause before each run"
    )
    plans = [(m, m.on_gpu) for m in report.configurations if m.on_gpu is not None]
    if plans:
        print_line(
            f"on a GPU {report.gpu_warm_up_ms} ms of warm-up, then {report.gpu_turn_ms} ms of runs"
        )
    doubt = "?" if report.busy else ""
    rows = (
        [m.name, m.precision, *_cells(m.engine), f"{m.speed:.2f}×{doubt}"]
        for m in report.configurations
    )
    print_table(("engine", "runs in", "median ms", "p90", "p99", "speed vs first"), rows)
    if plans:
        print_line()
        print_table(
            ("on the GPU", "to GPU ms", "compute ms", "to host ms", "CUDA graph"),
            [[m.name, *map(_ms, dict(t).values()), m.provenance["cuda_graph"]] for m, t in plans],
        )
    if report.scan is None:
        print_line("give --scan PATH for file to result, start-up and memory")
    else:
        print_line()
        print_line(f"file to result: {report.scan}")
        files, stages = [], []
        for m in report.configurations:
            if (on_scan := m.on_scan) is not None:
                whole = (on_scan.file_to_result.median_ms, on_scan.batch_ms_per_scan)
                files.append(
                    [
                        m.name,
                        *_cells(on_scan.file_to_result),
                        *(f"{ms / m.engine.median_ms:.2f}×{doubt}" for ms in whole),
                    ]
                )
                times = map(_ms, (*on_scan.stages_ms.values(), on_scan.startup_ms))
                stages.append([m.name, *times, f"{on_scan.peak_memory_mb:.0f}"])
        ratios = ("× engine alone", "batch × engine alone")
        print_table(("engine", "median ms", "p90", "p99", *ratios), files)
        stage_names = ("find", "read", "preprocess", "infer", "start-up")
        titles = ("engine", *(f"{name} ms" for name in stage_names), "peak MB")
        print_table(titles, stages)
    if report.busy:
        print_line(f"? {_untrusted(report)}")


def _untrusted(report: BenchReport) -> str:
    return (
        f"the machine was busy ({'; '.join(report.busy)}): do not trust the ratios, run again "
        "when it is idle"
    )


def _cells(latency: Latency) -> Iterable[str]:
    yield _ms(latency.median_ms)
    for percent in (90, 99):
        value = latency.percentile_ms(percent)
        yield "–" if value is None else _ms(value)


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
