"""`darnet-trt plugin`: compile the library of the fused attention, and check it."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

import typer

from darnet_trt.cli.help import Command, Group
from darnet_trt.cli.printing import print_line, say

plugin = typer.Typer(
    cls=Group,
    help="Compile the fused attention as a TensorRT plugin, and check that TensorRT accepts it. "
    "To see which layers of a plan run in it: darnet-trt bundle show BUNDLE --layers.",
)


@plugin.command(cls=Command)
def build(
    target: Annotated[
        Literal["cuda", "cpu"],
        typer.Option(
            help="cuda: compile with nvcc. cpu: compile with g++, to build plans and to test "
            "without a GPU."
        ),
    ] = "cuda",
    arch: Annotated[
        list[str] | None,
        typer.Option(
            help="GPU architecture such as sm_89; repeatable. "
            "[default: those of sm_75 to sm_120 that nvcc supports]",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Print a table of every kernel's registers; fail if a kernel spills any.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compile the kernels and the plugin into this user's cache, unless they are there already."""
    from dataclasses import asdict

    from darnet_trt.errors import BuildError, UsageError
    from darnet_trt.kernels.build import build_library
    from darnet_trt.kernels.library import Library
    from darnet_trt.kernels.resources import markdown, resources

    if report and target == "cpu":
        raise UsageError("is for GPUs only", where="--report", do="use --target cuda")
    compiled = False

    def log(line: str) -> None:
        nonlocal compiled
        compiled = True
        say(line)

    started = perf_counter()
    path = build_library(target, arch, log=log)
    seconds = perf_counter() - started
    for_what, *architectures = Library(path).target.split()
    kernels = resources(path) if report else []
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "library": str(path),
                    "target": for_what,
                    "architectures": architectures,
                    "bytes": path.stat().st_size,
                    "compiled": compiled,
                    "seconds": round(seconds, 2),
                    **({"kernels": [asdict(kernel) for kernel in kernels]} if report else {}),
                },
                indent=2,
            )
        )
    else:
        when = f"compiled in {seconds:.1f} s" if compiled else "compiled before"
        what = " ".join([for_what, *architectures])
        print_line(f"{path}: {what}, {path.stat().st_size / 1e6:.1f} MB, {when}")
        if report:
            for line in markdown(kernels).splitlines():
                print_line(line)
    spilled = [f"{k.kernel} on {k.architecture}" for k in kernels if k.spilled_bytes]
    if spilled:
        raise BuildError(f"{len(spilled)} kernels spill registers, first {spilled[0]}", where=path)


@plugin.command(cls=Command)
def check(
    library: Annotated[
        Path | None,
        typer.Argument(
            help="Plugin library. [default: the CUDA one from plugin build, else the CPU one]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Check that every TensorRT installed for this Python accepts the plugin, and the driver too.

    Exit code 0: all accept it; 1: some refuse it, or the driver is older than the CUDA that
    compiled it; 2: all refuse it, or none is installed.
    """
    from dataclasses import asdict

    from darnet_trt.errors import UsageError
    from darnet_trt.kernels.build import cached_library
    from darnet_trt.kernels.check import PACKAGES, check_driver, check_library

    path = library or cached_library("cuda") or cached_library("cpu")
    if path is None:
        raise UsageError("no plugin library is built yet", do="run: darnet-trt plugin build")
    answers = check_library(path)
    driver = check_driver(path)
    if as_json:
        report = {
            "library": str(path),
            "answers": [asdict(answer) for answer in answers],
            "driver": driver,
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        print_line(str(path))
        for a in answers:
            verdict = "accepts it" if a.accepted else f"refuses it: {a.reason}"
            print_line(f"{a.package} {a.version or '(unknown version)'} {verdict}")
        if driver is not None:
            print_line(f"this machine cannot run it: {driver}")
    if not answers:
        raise UsageError(
            f"no TensorRT is installed: none of {', '.join(PACKAGES)}",
            do="install the extra rtx or tensorrt",
        )
    if driver is not None or not all(a.accepted for a in answers):
        raise typer.Exit(1 if any(a.accepted for a in answers) else 2)
