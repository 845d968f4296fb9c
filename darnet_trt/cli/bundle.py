"""`darnet-trt bundle`: show what a bundle holds, and check it on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.help import Command, Group
from darnet_trt.cli.printing import print_line, print_table, warn

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
    from darnet_trt.cli.engine_table import print_engines

    opened = open_bundle(folder, complete=False)
    if as_json:
        typer.echo(opened.manifest.model_dump_json(indent=2))
        return
    for name, value in _facts(opened.manifest):
        print_line(f"{name + ':':14} {value}")
    print_line()
    print_engines(folder, opened.manifest)


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
        typer.echo(json.dumps(content, indent=2, default=lambda parity: parity.model_dump()))
    else:
        _print_check(folder, found)
    if not found.passed:
        raise typer.Exit(1)


def _print_check(folder: Path, found: BundleCheck) -> None:
    from darnet_trt.cli.engine_table import PARITY, parity_cells

    for warning in (warning for engine in found.engines for warning in engine.warnings):
        warn(f"warning: {warning}")
    broken = {name: problem for name, problem in found.files.items() if problem is not None}
    intact = len(found.files) - len(broken)
    print_line(f"{folder}: {intact} of {len(found.files)} files are intact")
    for name, problem in broken.items():
        print_line(f"{name}: {problem}")
    if found.reference is None:
        print_line("no reference outputs: built by an older version, engines are only loaded")
    rows = ([e.name, e.status, e.precision or "-", *parity_cells(e.parity)] for e in found.engines)
    print_table(("engine", "status", "runs in", *PARITY), rows)
    for engine in found.engines:
        if engine.detail and (engine.status != "ok" or found.reference is not None):
            print_line(f"{engine.name}: {engine.detail}")
    failed = [engine.name for engine in found.engines if engine.status == "failed"]
    here = [engine for engine in found.engines if engine.status != "cannot run here"]
    if found.passed:
        print_line(f"passed: {len(here)} of {len(found.engines)} engines run here")
    else:
        print_line(f"failed: {', '.join([*broken, *failed])}")
