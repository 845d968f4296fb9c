"""`darnet-trt bench`: how fast a bundle's engines are on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from darnet_trt.bundle.reading import Bundle
    from darnet_trt.runtime.bench.report import BenchReport, OnScan
    from darnet_trt.runtime.bench.timing import Latency
    from darnet_trt.runtime.engines.runner import Runner

__all__ = ["bench"]

_AGAINST: Final = ("torch", "torch-compile", "torch-fused", "onnxruntime", "openvino")

# Enough for a p90; at the paper's size a round of one CPU engine takes 1.4 to 10 seconds.
_ROUNDS: Final = 10


def bench(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    artifact: Annotated[
        list[str] | None,
        typer.Option(
            help="Engine of the bundle; may be given several times. The first is the reference "
            "of the ratios; by default the bundle's default engine.",
            show_default=False,
        ),
    ] = None,
    scan: Annotated[
        Path | None,
        typer.Option(help="One scan: adds file-to-result, stages, batch, start-up and memory."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help=f"Compare with any of {', '.join(_AGAINST)} (float32, comma-separated): "
            "engine time only. torch-fused runs on a CUDA device if there is one, the others on "
            "the CPU.",
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Timed turns; p90 takes 10 and p99 takes 100.")
    ] = _ROUNDS,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; by default one for each core.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the report as JSON to this file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of the table.")
    ] = False,
) -> None:
    """Measure latency, start-up and memory of a bundle's engines with `predict`'s own code.

    Configurations take turns in one process after one untimed turn; compare ratios of one run,
    not seconds of two.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.runtime.bench.report import benchmark
    from darnet_trt.runtime.engines.loading import load_engine

    opened = open_bundle(bundle)
    rivals = _rivals(against)
    names: list[str] | list[None] = artifact or [None]
    engines = [load_engine(opened, name, threads=threads) for name in dict.fromkeys(names)]
    for warning in (warning for engine in engines for warning in engine.warnings):
        typer.echo(f"warning: {warning}", err=True)
    others = {name: _rival(opened, name, threads) for name in rivals}
    report = benchmark(
        opened,
        engines,
        against=others,
        scan=scan,
        rounds=rounds,
        threads=threads,
        notify=lambda line: typer.echo(line, err=True),
    )
    content = json.dumps(report.as_json(), indent=2)
    if out is not None:
        from darnet_trt.machine.files import whole_file

        with whole_file(out) as file:
            file.write(content.encode() + b"\n")
    if as_json:
        typer.echo(content)
    elif out is None:
        _show(report)


def _rivals(against: str | None) -> list[str]:
    from darnet_trt.errors import UsageError

    names = [name.strip() for name in (against or "").split(",") if name.strip()]
    for name in names:
        if name not in _AGAINST:
            raise UsageError(
                f"it knows no {name!r}", where="--against", do=f"it takes {', '.join(_AGAINST)}"
            )
    return list(dict.fromkeys(names))


def _rival(bundle: Bundle, name: str, threads: int | None) -> Runner:
    """The bundle's network in float32 by other means; its ONNX file is in every bundle."""
    from darnet_trt.bundle.manifest import MODEL_FILE
    from darnet_trt.bundle.reading import verified_file

    model = verified_file(bundle, MODEL_FILE)
    if name == "onnxruntime":
        from darnet_trt.runtime.engines.onnxruntime.runner import OnnxRuntimeRunner

        return OnnxRuntimeRunner(model, threads=threads)
    if name == "openvino":
        return _openvino(model, threads)
    from darnet_trt.export.gates.reference import Mode, TorchRunner

    modes: dict[str, Mode] = {"torch-compile": "compiled", "torch-fused": "fused"}
    return TorchRunner.from_onnx(model, threads=threads, mode=modes.get(name, "eager"))


def _openvino(onnx_file: Path, threads: int | None) -> Runner:
    """OpenVINO from the ONNX file: the bundle need not have been built for it."""
    from tempfile import TemporaryDirectory

    from darnet_trt.runtime.engines.openvino.conversion import build_openvino
    from darnet_trt.runtime.engines.openvino.runner import OpenVINORunner

    with TemporaryDirectory() as folder:
        xml, _ = build_openvino(onnx_file, Path(folder))
        return OpenVINORunner(xml, precision="fp32", threads=threads)


def _show(report: BenchReport) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    cpu = report.environment["cpu"]
    console.print(
        f"{cpu['name']}, {cpu['cores']} cores, {cpu['memory_gib']} GiB, load "
        f"{report.environment['load_1min']}; bundle {report.bundle_sha256[:12]}, "
        f"{report.rounds} round{'s' * (report.rounds != 1)}",
        soft_wrap=True,
    )
    engines = Table(
        "engine", "runs in", "median ms", "p90", "p99", "speed", box=None, pad_edge=False
    )
    for m in report.measured:
        engines.add_row(m.name, m.precision, *_cells(m.engine), f"{m.speed:.2f}×")
    console.print(engines)
    if report.scan is None:
        console.print("give --scan PATH for file-to-result, start-up and memory")
        return
    console.print(f"\nfile to result: {report.scan}", soft_wrap=True)
    files = Table(
        "engine", "median ms", "p90", "p99", "/engine", "batch/engine", box=None, pad_edge=False
    )
    stages = Table(
        "engine", "find", "read", "preprocess", "infer", "start-up ms", "peak MB",
        box=None, pad_edge=False,
    )  # fmt: skip
    for m in report.measured:
        if m.on_scan is not None:
            files.add_row(m.name, *_cells(m.on_scan.file), *_over_engine(m.on_scan, m.engine))
            stages.add_row(m.name, *_stages(m.on_scan))
    console.print(files)
    console.print(stages)


def _cells(latency: Latency) -> Iterable[str]:
    from darnet_trt.runtime.bench.timing import needed_samples

    yield _ms(latency.median_ms)
    for percent in (90, 99):
        value = latency.percentile_ms(percent)
        yield f"n<{needed_samples(percent)}" if value is None else _ms(value)


def _over_engine(on_scan: OnScan, engine: Latency) -> Iterable[str]:
    yield f"{on_scan.file.median_ms / engine.median_ms:.3f}×"
    yield f"{on_scan.batch_ms / engine.median_ms:.3f}×"


def _stages(on_scan: OnScan) -> Iterable[str]:
    yield from map(_ms, (*on_scan.stages_ms.values(), on_scan.startup_ms))
    yield f"{on_scan.fresh.peak_memory_mb:.0f}"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
