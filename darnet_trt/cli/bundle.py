"""`darnet-trt bundle`: show what a bundle holds, check it here, and write it for Triton."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.held_out import measures
from darnet_trt.cli.help import Command, Group
from darnet_trt.cli.printing import print_line, print_table, warn
from darnet_trt.machine.cpus import MOST_THREADS

if TYPE_CHECKING:
    from darnet_trt.bundle.manifest import Manifest
    from darnet_trt.bundle.reading import Bundle
    from darnet_trt.export.gates.bundle_check import BundleCheck

bundle = typer.Typer(
    cls=Group,
    help="Show what a bundle holds, check it on this machine, and write it for Triton.",
)

_Folder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")]


@bundle.command(cls=Command)
def show(
    folder: _Folder,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON instead of tables: the manifest, or the layers."),
    ] = False,
    layers: Annotated[
        bool,
        typer.Option(
            "--layers",
            help="Print the layers of each TensorRT plan instead: kind, types, and the kilobytes "
            "that they read and write.",
        ),
    ] = False,
) -> None:
    """Show a bundle: its network, training data, preprocessing, engines, and how they were judged.

    The columns flips, probability, logits and map compare an engine with torch: the scans whose
    class differs, and the largest difference of a probability, a logit and the activation map.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.cli.engine_table import print_engines

    opened = open_bundle(folder, complete=False)
    if layers:
        _show_layers(opened, as_json=as_json)
        return
    if as_json:
        content = {"bundle_sha256": opened.sha256, **opened.manifest.model_dump(mode="json")}
        typer.echo(json.dumps(content, indent=2))
        return
    for name, value in _facts(opened.manifest):
        print_line(f"{name + ':' * bool(name):14} {value}")
    print_line()
    print_engines(folder, opened.manifest)


def _show_layers(bundle: Bundle, *, as_json: bool) -> None:
    """Print the table of layers that the builder gave of each plan."""
    from dataclasses import asdict

    from darnet_trt.errors import UsageError
    from darnet_trt.export.tensorrt.layer_table import described
    from darnet_trt.export.tensorrt.stored_table import COLUMNS, read_table, row
    from darnet_trt.runtime.engines.tensorrt.package import PACKAGES

    plans = [a for a in bundle.manifest.artifacts if a.backend in PACKAGES]
    if not plans:
        raise UsageError(
            "the bundle has no TensorRT plan",
            where=bundle.path,
            do="leave --layers out, or build one with --target tensorrt-rtx",
        )
    tables = {plan.name: read_table(bundle, plan) for plan in plans}
    if as_json:
        content = {name: [asdict(layer) for layer in table] for name, table in tables.items()}
        typer.echo(json.dumps(content, indent=2))
        return
    for plan in plans:
        if not tables[plan.name]:
            why = "built by an older version, or the builder printed none"
            print_line(f"{plan.name}: no table of layers: {why}")
            continue
        if plan.plan is not None:
            for line in described(plan.plan):
                print_line(f"{plan.name}: {line}")
        print_table(COLUMNS, map(row, tables[plan.name]))
        print_line()


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """List what concerns the whole bundle."""
    from darnet_trt.bundle.trust import CANNOT_FLAG

    model, spec = manifest.model, manifest.preprocessing
    yield "use", manifest.intended_use
    yield "built", f"{manifest.created} by {manifest.toolkit}"
    yield (
        "network",
        f"attention {model.attention}, width {model.width}, {model.parameters:,} parameters",
    )
    yield "trained on", model.trained_on
    if model.shortcuts:
        yield "shortcuts", f"{', '.join(model.shortcuts)}: the class may not come from the lungs"
    if model.validation:
        yield "validation", ", ".join(_counts(model.validation, manifest.classes))
        yield from (("", line) for line in measures(model.validation, manifest.classes))
    yield "temperature", f"{model.temperature:.3g}, of the probabilities"
    flags = "flags scans that are unlike the training scans"
    yield "familiarity", CANNOT_FLAG if manifest.familiarity is None else flags
    yield "classes", ", ".join(manifest.classes)
    yield "input", f"1×{'×'.join(map(str, spec.size))} (channel, depth, height, width)"
    yield (
        "preprocessing",
        f"window {spec.window_center_hu:g}/{spec.window_width_hu:g} HU (centre/width), "
        f"orientation {spec.orientation}, {spec.in_plane} averages in plane, {spec.depth} in depth "
        f"(snap {spec.depth_snap:g})",
    )
    rows, columns = (2 * pixels for pixels in spec.size[1:])
    halves = f"half, of slices of {rows}×{columns} pixels and more, in every format"
    yield "resolution", halves if spec.resolution == "half" else "full"
    lungs = f"the lungs and {spec.margin_mm:g} mm above and below"
    yield "extent", "the whole scan" if spec.extent == "scan" else lungs
    yield (
        "bundle check",
        "has no reference outputs: built by an older version"
        if manifest.reference is None
        else f"has reference outputs for {manifest.reference.source}",
    )


def _counts(found: Mapping[str, float], classes: Sequence[str]) -> Iterator[str]:
    """List how many held-out scans of each class were classified correctly."""
    for name in classes:
        if f"scans_{name}" in found:
            yield f"{name} {found[f'correct_{name}']:.0f} of {found[f'scans_{name}']:.0f} correct"


@bundle.command(cls=Command)
def check(
    folder: _Folder,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="CPU threads. [default: each engine chooses]"),
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
        print_line(f"passed: {_outcome(len(here), found)}")
    else:
        print_line(f"failed: {', '.join([*broken, *failed])}")


def _outcome(here: int, found: BundleCheck) -> str:
    """Say how many engines run here, and whether anything was compared."""
    total = len(found.engines)
    if not here:
        return f"the files are intact; none of {total} engines runs here"
    which = f"all {total} engines" if here == total else f"{here} of {total} engines"
    if found.reference is None:
        return f"{which} load here; there are no outputs to compare"
    return f"{which} run here and agree with the reference outputs"


@bundle.command(cls=Command)
def triton(
    folder: _Folder,
    out: Annotated[
        Path,
        typer.Argument(help="The model repository to write into; made where it is absent."),
    ],
    artifact: Annotated[
        str | None,
        typer.Option(
            autocompletion=artifacts,
            help="Engine to write, named as in bundle show. [default: the bundle's default engine]",
        ),
    ] = None,
) -> None:
    """Write an engine as a model of NVIDIA Triton Inference Server, with its configuration.

    Triton runs the network alone: it takes volumes that are preprocessed as the bundle says (the
    model's parameter preprocessing), and neither reads scans nor refuses them.
    """
    from darnet_trt.bundle.reading import open_bundle, pick_artifact
    from darnet_trt.bundle.triton import remarks, write_repository

    opened = open_bundle(folder)
    chosen = pick_artifact(opened, artifact)
    model = write_repository(opened, chosen, out)
    for remark in remarks(chosen):
        warn(f"warning: {remark}")
    print_line(f"wrote {model}: start Triton with --model-repository={out.absolute()}")
