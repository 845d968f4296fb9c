"""`darnet-trt export`: a trained network as one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from darnet_trt.cli.printing import print_line


def export(
    run: Annotated[
        Path, typer.Argument(help="The folder of a training run, or its checkpoint file.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="The .onnx file to write. [default: RUN/model.onnx; its name gains -fp16, -bf16 "
            "and -inline with these options]",
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "bf16"],
        typer.Option(
            help="fp16 stores weights as float16, bf16 as bfloat16, both for TensorRT. ONNX "
            "Runtime does not run bf16 on the CPU."
        ),
    ] = "fp32",
    inline: Annotated[
        bool,
        typer.Option(
            "--inline",
            help="Write standard ONNX operators only, which every tool reads. TensorRT cannot run "
            "its plugin in such a file.",
        ),
    ] = False,
) -> None:
    """Write a trained network as one ONNX file.

    Each attention in it is a call of a local function, which ONNX Runtime and TensorRT understand;
    TensorRT can run its plugin in place of the function. OpenVINO and other tools need --inline.
    """
    from darnet_trt.errors import UsageError
    from darnet_trt.machine.files import check_file_place
    from darnet_trt.machine.hardware import require_packages

    require_packages("torch", "onnx", extra="train")
    from darnet_trt.export.onnx.writing import export_onnx, load_source

    if out is None:
        folder = run if run.is_dir() else run.parent
        endings = f"-{precision}" * (precision != "fp32") + "-inline" * inline
        out = folder / f"model{endings}.onnx"
    else:
        check_file_place(out)
    if out.suffix != ".onnx":
        raise UsageError("the file name must end in .onnx", where=out, do="choose another -o")
    source = load_source(run)
    export_onnx(source, out, precision, inline=inline)
    network = source.checkpoint.network
    size = "×".join(map(str, network.input_size))
    print_line(
        f"{out}: {precision}{', standard operators only' * inline}, attention {network.attention}, "
        f"input batch×1×{size}, outputs logits, cam and features, {out.stat().st_size / 1e6:.1f} MB"
    )
