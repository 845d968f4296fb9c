"""`darnet-trt build`: a trained network as a bundle of engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from darnet_trt.cli.completion import targets

if TYPE_CHECKING:
    from darnet_trt.bundle.manifest import Manifest

__all__ = ["build", "print_summary"]

TABLE_WIDTH = 128  # of a row with the longest name and remark: where output is no terminal


def build(
    run: Annotated[Path, typer.Argument(help="The run's folder, or its checkpoint file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle: a folder to make.")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            autocompletion=targets,
            help="openvino, onnxruntime[:cuda], tensorrt-rtx[:sm75,sm86,…] or tensorrt; "
            "repeatable. [default: openvino and onnxruntime, where installed]",
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "int8"],
        typer.Option(
            help="auto: on the CPU the fastest that passes the gates, fp16 for GPUs, and int8 "
            "where there is calibration data."
        ),
    ] = "auto",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Scans to calibrate int8 with: a cohort (cohort.csv) or any folder that predict "
            "reads. Some calibrate, the others judge; where fewer than 110 judge, int8 is not the "
            "default. The word random: only to see its speed.",
        ),
    ] = None,
    calibration_scans: Annotated[int, typer.Option(min=1, help="How many of them calibrate.")] = 32,
    method: Annotated[
        Literal["auto", "minmax", "percentile", "entropy", "mse"],
        typer.Option(help="How an activation's range is chosen. auto: the one that errs least."),
    ] = "auto",
    seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="Where int8 in all layers changes decisions: for the layers' effects, and as many "
            "for the search; each for the CPU and for plans.",
        ),
    ] = 600,
    accept: Annotated[
        str | None,
        typer.Option(
            metavar="WHO AND WHY",
            help="Ship an int8 engine that fails a gate: never as the default, and the manifest "
            "and each of its results say so.",
        ),
    ] = None,
    plugin: Annotated[
        Literal["auto", "on", "off"],
        typer.Option(
            help="The fused attention as a plugin in TensorRT plans. auto: where it is compiled "
            "(darnet-trt plugin build) and accepted; on: compile it if need be, or fail."
        ),
    ] = "auto",
    batch: Annotated[
        str, typer.Option(help="Of TensorRT plans: a number, or a range as 1:8.")
    ] = "1",
    workspace: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most MiB of scratch memory of a TensorRT plan. [default: no limit]"
        ),
    ] = None,
    version_compatible: Annotated[
        bool,
        typer.Option("--version-compatible", help="tensorrt: a plan that later versions run, too."),
    ] = False,
    hardware_compatible: Annotated[
        bool,
        typer.Option(
            "--hardware-compatible", help="tensorrt: a plan for every GPU from Ampere on."
        ),
    ] = False,
    optimization_level: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=5,
            help="tensorrt: 0 builds quickly, 5 builds the quickest plan. [default: TensorRT's]",
        ),
    ] = None,
    scans: Annotated[
        Path | None,
        typer.Option(help="Scans for the parity gate. [default: synthetic phantoms]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. [default: the engines' choice]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Build engines, check each against torch on the same scans, and keep those that agree.

    The fastest becomes the default; one in int8 only if it is 1.05 times as fast as the best float
    one, and enough scans judged it (--calibration).
    """
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages

    share_cpus()
    require_packages("torch", "onnx", extra="train")
    from darnet_trt.bundle.writing import check_free
    from darnet_trt.calibration.scans.choosing import choose_scans
    from darnet_trt.calibration.search.cost import announce
    from darnet_trt.calibration.search.search import Search, trial_backend
    from darnet_trt.cli.printing import say as log
    from darnet_trt.errors import UsageError
    from darnet_trt.export.build import Calibration, build_bundle
    from darnet_trt.export.gates.parity_scans import read_scans, synthetic_scans
    from darnet_trt.export.onnx.reading import float_graph
    from darnet_trt.export.onnx.writing import load_source
    from darnet_trt.export.targets import candidates, plan_backends
    from darnet_trt.export.tensorrt.options import PlanOptions, batch_range, check_options

    wanted = candidates(target or [], precision, calibrated=calibration is not None)
    options = PlanOptions(
        batch=batch_range(batch),
        workspace_mib=workspace,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        optimization_level=optimization_level,
    )
    check_options(options, plan_backends(wanted))
    if plugin == "on" and not plan_backends(wanted):
        raise UsageError(
            "--plugin on is for TensorRT plans, and no --target is one",
            do="add --target tensorrt-rtx or tensorrt, or leave --plugin out",
        )
    if accept is not None and calibration is None:
        raise UsageError(
            "it is for int8 engines, and none is built without calibration",
            where="--accept",
            do="add --calibration DIR, or leave it out",
        )
    if accept is not None and not accept.strip():
        raise UsageError(
            "it is blank", where="--accept", do="say who takes the engine and why, or leave it out"
        )
    check_free(out, force=force)
    source = load_source(run)
    spec = source.checkpoint.preprocessing
    gate_scans = synthetic_scans(spec) if scans is None else read_scans(scans, spec, log)
    int8 = None
    if calibration is not None and any(c.precision == "int8" for c in wanted):
        announce(float_graph(run)[0], trial_backend(), log)
        chosen, held_out = choose_scans(calibration, spec, calibration_scans, 0, log)
        int8 = Calibration(
            chosen,
            held_out,
            Search(method, seconds=seconds),
            accept,
            asked_for=precision == "int8",
        )
    manifest = build_bundle(
        source,
        out,
        wanted,
        gate_scans,
        plan_options=options,
        plugin=plugin,
        calibration=int8,
        threads=threads,
        force=force,
        log=log,
    )
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        print_summary(out, manifest)


def print_summary(out: Path, manifest: Manifest) -> None:
    """The bundle as a table: one engine a row; then what plans run, and what the weights know."""
    from rich.console import Console
    from rich.table import Table

    from darnet_trt.bundle.trust import failed_gates
    from darnet_trt.export.tensorrt.layer_table import described

    table = Table(
        "engine", "ms/volume", "logits error", "flips", "size", "", box=None, pad_edge=False
    )
    rejected = {artifact.name for artifact in manifest.rejected}
    for a in (*manifest.artifacts, *manifest.rejected):
        size = sum((out / file).stat().st_size for file in a.files if (out / file).exists())
        if a.name in rejected:
            remark = f"rejected: {failed_gates(a)[0]}"
        elif a.name == manifest.default:
            remark = "default"
        else:
            remark = "; ".join(a.notes)
        table.add_row(
            a.name,
            "-" if a.latency_ms is None else f"{a.latency_ms:.1f}",
            "-" if a.parity is None else f"{a.parity.max_logits_error:.1e}",
            "-" if a.parity is None else f"{a.parity.class_flips} of {a.parity.scans}",
            f"{size / 1e6:.1f} MB",
            remark,
        )
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table)
    for a in manifest.artifacts:
        if a.plan is not None:
            kernels = described(a.plan.kernels, len(a.plan.profiles))
            console.print(f"{a.name}: {kernels}", soft_wrap=True)
    console.print(f"{out}: trained on {manifest.model.trained_on}", soft_wrap=True)
