"""`darnet-trt calibrate`: what int8 would do to a network, before anything is built."""

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
        typer.Argument(help="A run, a bundle, or a float32 .onnx file of darnet-trt export."),
    ],
    scans: Annotated[
        Path,
        typer.Argument(
            help="A cohort (cohort.csv) or any folder that predict reads. Some calibrate, the "
            "others judge."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="Folder for report.md, sensitivity.svg, calibration.json."
        ),
    ],
    count: Annotated[int, typer.Option("--scans", min=1, help="How many calibrate.")] = 32,
    method: Annotated[
        Literal["auto", "minmax", "percentile", "entropy", "mse"],
        typer.Option(help="How an activation's range is chosen. auto: the one that errs least."),
    ] = "auto",
    seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="For the blocks' and layers' effects, and as many for a search if needed.",
        ),
    ] = 600,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. [default: the engines' choice]")
    ] = None,
) -> None:
    """Calibrate int8: choose ranges, rank the layers it harms, and judge the decisions.

    Statistics and trials are kept in the user's cache: an interrupted run goes on from there, and
    so does build --calibration with the same model and scans. Exit code 0: the report is written,
    also where no set of layers keeps the decisions, as report.md then says first; 2: it is not.
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
    """report.md, sensitivity.svg and calibration.json."""
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
