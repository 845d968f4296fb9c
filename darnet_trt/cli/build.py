"""`darnet-trt build`: a trained network as a bundle of engines."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from darnet_trt.cli.completion import targets
from darnet_trt.cli.printing import print_line, say
from darnet_trt.machine.cpus import MOST_THREADS

if TYPE_CHECKING:
    from darnet_trt.bundle.manifest import Manifest

_what = partial(typer.Option, rich_help_panel="What to build")
_int8 = partial(typer.Option, rich_help_panel="Calibration of int8")
_plan = partial(typer.Option, rich_help_panel="TensorRT and TensorRT-RTX")


def build(
    run: Annotated[
        Path, typer.Argument(help="The folder of a training run, or its checkpoint file.")
    ],
    out: Annotated[
        Path,
        _what("-o", "--out", help="Folder of the bundle, written when the build is done."),
    ],
    target: Annotated[
        list[str] | None,
        _what(
            help="What runs the engine: openvino, onnxruntime, onnxruntime:cuda, tensorrt (for the "
            "GPU of this machine), tensorrt-rtx (one portable plan) or "
            "tensorrt-rtx:sm75,sm86,… (one plan for each architecture). Repeatable. "
            "[default: openvino and onnxruntime, if installed]",
            autocompletion=targets,
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16", "int8"],
        _what(
            help="auto builds fp32 for the CPU, bf16 too if the CPU computes in it, fp16 for GPUs "
            "(with onnxruntime:cuda fp32 too), and int8 for the CPU and for plans if "
            "--calibration is given. Plans can be bf16, too."
        ),
    ] = "auto",
    scans: Annotated[
        Path | None,
        _what(
            help="Scans on which engines are compared with torch: anything that predict reads. "
            "[default: 4 synthetic phantoms]"
        ),
    ] = None,
    class_code: Annotated[
        list[str] | None,
        _what(
            metavar="CLASS=VALUE,SCHEME,MEANING",
            help="The code of a class in DICOM objects, such as "
            "normal=17621005,SCT,Normal. Repeatable. [default: docs/dicom.md]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        _what(
            min=1,
            max=MOST_THREADS,
            help="CPU threads of torch and of the engines. [default: each chooses its own number]",
        ),
    ] = None,
    force: Annotated[bool, _what("--force", help="Replace an existing bundle.")] = False,
    as_json: Annotated[
        bool, _what("--json", help="Print the manifest as JSON instead of a table.")
    ] = False,
    calibration: Annotated[
        Path | None,
        _int8(
            help="Scans for int8: a cohort (cohort.csv), or any file or folder that predict "
            "reads. Some calibrate. All others judge whether int8 keeps the decisions, except "
            "patients that trained the network. Patients on the test side of the run or of the "
            "cohort do neither. At least 138 must judge, 40 of the positive class "
            "and 40 others, before int8 can become the default, unless --precision int8 asks for "
            "it. The word random takes random numbers instead, to measure int8's speed. "
            "[default: no int8]"
        ),
    ] = None,
    calibration_scans: Annotated[int, _int8(min=1, help="How many scans calibrate at most.")] = 32,
    method: Annotated[
        Literal["auto", "minmax", "percentile", "kl", "mse"],
        _int8(
            help="How the range of each activation is chosen. auto tries all four and takes the "
            "one with the smallest error."
        ),
    ] = "auto",
    seconds: Annotated[
        float,
        _int8(
            min=0,
            help="If full int8 changes decisions: time limit in seconds for measuring layer "
            "sensitivity, and as much again for the search. CPU engines and plans "
            "each have their own limit.",
        ),
    ] = 600,
    accept: Annotated[
        str | None,
        _int8(
            metavar="WHO AND WHY",
            help="Keep int8 engines that fail a gate. They never become the default; the manifest "
            "and each of their results carry this text. [default: they are left out]",
        ),
    ] = None,
    plugin: Annotated[
        Literal["auto", "on", "off"],
        _plan(
            help="Run the fused attention as a plugin in plans. auto: if it is compiled for CUDA "
            "(darnet-trt plugin build) and TensorRT accepts it, build with it and without, and "
            "keep the faster plan. on: compile it if needed, and fail if it cannot be used."
        ),
    ] = "auto",
    batch: Annotated[
        str, _plan(help="Batch size of plans: a number, or a range such as 1:8; at most 64.")
    ] = "1",
    workspace: Annotated[
        int | None,
        _plan(min=1, help="Limit of a plan's scratch memory in MiB. [default: no limit]"),
    ] = None,
    version_compatible: Annotated[
        bool,
        _plan(
            "--version-compatible",
            help="tensorrt only: later TensorRT versions can run the plan too. "
            "[default: only the version that built it]",
        ),
    ] = False,
    hardware_compatible: Annotated[
        bool,
        _plan(
            "--hardware-compatible",
            help="tensorrt only: every GPU of the same compute capability can run the plan. "
            "[default: only GPUs of the model that built it]",
        ),
    ] = False,
    optimization_level: Annotated[
        int | None,
        _plan(
            min=0,
            max=5,
            help="tensorrt only: 0 builds fastest, 5 builds the fastest plan. "
            "[default: TensorRT's own]",
        ),
    ] = None,
) -> None:
    """Build engines, compare each with torch on the same scans, and keep those that agree.

    The fastest becomes the default. An int8 engine becomes the default only if it is at least 1.05
    times as fast as the best float engine, and if at least 138 scans judged it or --precision int8
    asked for it.
    """
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages

    share_cpus()
    require_packages("torch", "onnx", extra="train")
    from darnet_trt.bundle.writing import check_free
    from darnet_trt.calibration.scans.choosing import choose_scans, require_scans
    from darnet_trt.calibration.search.cost import announce
    from darnet_trt.calibration.search.search import Search
    from darnet_trt.cli.class_codes import class_codes
    from darnet_trt.cli.number_range import number_range
    from darnet_trt.errors import UsageError
    from darnet_trt.export.build import build_bundle
    from darnet_trt.export.context import Calibration
    from darnet_trt.export.gates.parity_scans import read_scans, synthetic_scans
    from darnet_trt.export.onnx.writing import load_source
    from darnet_trt.export.targets import candidates, plan_backends
    from darnet_trt.export.tensorrt.options import PlanOptions, check_options
    from darnet_trt.training.fitting.records import sides_of_patients

    wanted = candidates(target or [], precision, calibrated=calibration is not None)
    options = PlanOptions(
        batch=number_range(batch, "--batch"),
        workspace_mib=workspace,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        optimization_level=optimization_level,
    )
    check_options(options, plan_backends(wanted))
    if plugin == "on" and not plan_backends(wanted):
        raise UsageError(
            "the plugin is for TensorRT plans, and none is built",
            where="--plugin on",
            do="add --target tensorrt-rtx or tensorrt, or leave the option out",
        )
    if accept is not None and calibration is None:
        raise UsageError(
            "this option is for int8 engines, and none is built without calibration",
            where="--accept",
            do="add --calibration SCANS, or leave the option out",
        )
    if accept is not None and not accept.strip():
        raise UsageError("the text is blank", where="--accept", do="say who accepts it and why")
    if calibration is not None:
        require_scans(calibration)
    check_free(out, force=force)
    source = load_source(run)
    codes = class_codes(class_code or [], source.checkpoint.network.classes)
    spec = source.checkpoint.preprocessing
    gate_scans = synthetic_scans(spec) if scans is None else read_scans(scans, spec, say)
    int8 = None
    if calibration is not None and any(c.precision == "int8" for c in wanted):
        announce(source.float32, say)
        trained = source.checkpoint.training_scans
        chosen, held_out = choose_scans(
            calibration,
            spec,
            calibration_scans,
            0,
            say,
            trained,
            source.checkpoint.network.classes,
            sides_of_patients(run),
        )
        int8 = Calibration(
            chosen, held_out, Search(method, seconds=seconds), accept, asked_for=precision == "int8"
        )
    manifest = build_bundle(
        source,
        out,
        wanted,
        gate_scans,
        plan_options=options,
        plugin=plugin,
        calibration=int8,
        class_codes=codes,
        threads=threads,
        force=force,
        log=say,
    )
    if as_json:
        typer.echo(json.dumps(manifest.model_dump(mode="json"), indent=2))  # ASCII, escaped
    else:
        print_summary(out, manifest)


def print_summary(out: Path, manifest: Manifest) -> None:
    """Print the engines as a table, and what the network was trained on."""
    from darnet_trt.cli.engine_table import print_engines

    print_engines(out, manifest)
    print_line(f"{out}: trained on {manifest.model.trained_on}")
