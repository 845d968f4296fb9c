"""`darnet-trt bundle`: show what a bundle holds, and check it on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.help import Command, Group

if TYPE_CHECKING:
    from darnet_trt.bundle.manifest import Manifest
    from darnet_trt.export.gates.bundle_check import BundleCheck

__all__ = ["bundle"]

bundle = typer.Typer(cls=Group, help="Show what a bundle holds, and check it on this machine.")

_Folder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")]


@bundle.command(cls=Command)
def show(
    folder: _Folder,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the manifest as JSON instead of a table.")
    ] = False,
) -> None:
    """Show a bundle: its network, training data, preprocessing, engines, and how they were judged.

    The columns flips, probability, logits and map compare an engine with torch: the scans whose
    class differs, and the largest difference of a probability, a logit and the activation map.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.cli.engine_table import print_engines, wide_console

    opened = open_bundle(folder, complete=False)
    if as_json:
        typer.echo(opened.manifest.model_dump_json(indent=2))
        return
    console = wide_console()
    for name, value in _facts(opened.manifest):
        console.print(f"{name + ':':14} {value}", soft_wrap=True)
    console.print()
    print_engines(console, folder, opened.manifest)


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """List what concerns the whole bundle."""
    model, spec = manifest.model, manifest.preprocessing
    yield "use", manifest.intended_use
    yield "built", f"{manifest.created} by {manifest.toolkit}"
    yield (
        "network",
        f"attention {model.attention}, width {model.width}, {model.parameters:,} parameters",
    )
    yield "trained on", model.trained_on
    if model.validation:
        found = ", ".join(f"{name} {value:.3g}" for name, value in model.validation.items())
        yield "validation", found
    yield "classes", ", ".join(manifest.classes)
    yield "input", f"1×{'×'.join(map(str, spec.size))} (channel, depth, height, width)"
    rest = spec.model_dump(mode="json", exclude={"size"})
    yield "preprocessing", ", ".join(f"{name} {value}" for name, value in rest.items())
    yield (
        "bundle check",
        "has no reference outputs: built by an older version"
        if manifest.reference is None
        else f"has reference outputs for {manifest.reference.source}",
    )


@bundle.command(cls=Command)
def check(
    folder: _Folder,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. [default: each engine chooses]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check a bundle: the hash of every file, and every engine that runs on this machine.

    Each engine is loaded and compared with the reference outputs in the bundle; torch is not
    needed. Exit code 0: all is fine (engines that cannot run here are listed as such); 1: a file
    or an engine fails; 2: there is no bundle to check.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.export.gates.bundle_check import check_bundle

    found = check_bundle(open_bundle(folder, complete=False), threads=threads)
    if as_json:
        from dataclasses import asdict

        content = {"bundle": str(folder), "passed": found.passed, **asdict(found)}
        for engine, checked in zip(content["engines"], found.engines, strict=True):
            engine["parity"] = None if checked.parity is None else checked.parity.model_dump()
        typer.echo(json.dumps(content, indent=2))
    else:
        _print_check(folder, found)
    if not found.passed:
        raise typer.Exit(1)


def _print_check(folder: Path, found: BundleCheck) -> None:
    from rich.table import Table

    from darnet_trt.cli.engine_table import wide_console

    for warning in (warning for engine in found.engines for warning in engine.warnings):
        typer.echo(f"warning: {warning}", err=True)
    console = wide_console()
    intact = sum(problem is None for problem in found.files.values())
    console.print(f"{folder}: {intact} of {len(found.files)} files are intact", soft_wrap=True)
    for name, problem in found.files.items():
        if problem is not None:
            console.print(f"{name}: {problem}", soft_wrap=True)
    if found.reference is None:
        console.print("no reference outputs: built by an older version, engines are only loaded")
    table = Table(
        *("engine", "status", "runs in", "flips", "probability", "logits", "map"),
        box=None,
        pad_edge=False,
    )
    for engine in found.engines:
        parity = engine.parity
        table.add_row(
            engine.name,
            engine.status,
            engine.precision or "-",
            "-" if parity is None else f"{parity.class_flips} of {parity.scans}",
            "-" if parity is None else f"{parity.max_probability_difference:.1e}",
            "-" if parity is None else f"{parity.max_logits_error:.1e}",
            "-" if parity is None else f"{parity.max_cam_error:.1e}",
        )
    console.print(table)
    for engine in found.engines:
        if engine.detail and (engine.status != "ok" or found.reference is not None):
            console.print(f"{engine.name}: {engine.detail}", soft_wrap=True)
    failed = [engine.name for engine in found.engines if engine.status == "failed"]
    here = [engine for engine in found.engines if engine.status != "cannot run here"]
    if found.passed:
        console.print(f"passed: {len(here)} of {len(found.engines)} engines run here")
    else:
        broken = [name for name, problem in found.files.items() if problem is not None]
        console.print(f"failed: {', '.join([*broken, *failed])}", soft_wrap=True)
