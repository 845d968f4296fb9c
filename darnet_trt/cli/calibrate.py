"""`darnet-trt calibrate`: report what int8 does to a network, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from darnet_trt.calibration.search.search import Int8

__all__ = ["calibrate"]


def calibrate(
    model: Annotated[
        Path,
        typer.Argument(help="A run, a bundle, or a float32 .onnx file from darnet-trt export."),
    ],
    scans: Annotated[
        Path,
        typer.Argument(
            help="A cohort (cohort.csv), or any file or folder that predict reads. Some scans "
            "calibrate; those of other patients judge the decisions."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder for report.md, sensitivity.svg and calibration.json."
        ),
    ],
    count: Annotated[
        int, typer.Option("--scans", min=1, help="How many scans calibrate at most.")
    ] = 32,
    method: Annotated[
        Literal["auto", "minmax", "percentile", "entropy", "mse"],
        typer.Option(
            help="How the range of an activation is chosen; auto takes the method with the "
            "smallest error."
        ),
    ] = "auto",
    seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="Time limit in seconds for measuring layer sensitivity, and as much again for "
            "the search if full int8 changes decisions.",
        ),
    ] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of scans.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. [default: each engine chooses]")
    ] = None,
) -> None:
    """Report what int8 does to a network: best ranges, most harmed layers, changed decisions.

    Run the same command again to continue after an interruption; build --calibration with the same
    model and scans continues from there, too. Exit code 0: the report is written, even if int8 is
    not approved (report.md says so in its first line); 2: it is not written.
    """
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages

    share_cpus()
    require_packages("torch", "onnx", extra="train")
    from darnet_trt.calibration.report import headline
    from darnet_trt.calibration.scans.choosing import choose_scans
    from darnet_trt.calibration.search.cost import announce
    from darnet_trt.calibration.search.search import Search, gather, trial_backend
    from darnet_trt.calibration.search.search import calibrate as calibrated
    from darnet_trt.cli.printing import say as log
    from darnet_trt.cli.progress import resumable
    from darnet_trt.export.onnx.reading import float_graph
    from darnet_trt.machine.files import sole_writer

    graph, spec = float_graph(model)
    with sole_writer(out), resumable():
        announce(graph, trial_backend(), log)
        chosen, held_out = choose_scans(scans, spec, count, seed, log)
        found = calibrated(
            graph,
            gather(graph, chosen, threads, log),
            ["u8"],
            chosen,
            held_out,
            Search(
                method, sensitivity=True, seconds=seconds, backend=trial_backend(), threads=threads
            ),
            log,
        )
        int8 = found["u8"]
        _write(out, int8)
    for line in (*int8.decisions.failures, *int8.decisions.reserves, *int8.decisions.notes):
        log(f"calibration: {line}")
    log(headline(int8.report, int8.decisions))
    typer.echo(f"{out / 'report.md'}")


def _write(out: Path, found: Int8) -> None:
    """Write report.md, sensitivity.svg and calibration.json."""
    from darnet_trt.calibration.report import chart, markdown
    from darnet_trt.machine.files import whole_files

    files = {
        "report.md": markdown(found.report, found.decisions),
        "calibration.json": found.as_json(),
    }
    effects = found.report.effects or found.report.block_effects
    if effects:
        files["report.md"] += "\n![Effects of the layers](sensitivity.svg)\n"
        files["sensitivity.svg"] = chart(effects)
    whole_files({out / name: content.encode() for name, content in files.items()})
