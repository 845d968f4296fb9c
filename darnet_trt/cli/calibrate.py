"""`darnet-trt calibrate`: report what int8 does to a network, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from darnet_trt.cli.printing import print_line, say
from darnet_trt.cli.progress import resumable
from darnet_trt.machine.cpus import MOST_THREADS


def calibrate(
    model: Annotated[
        Path,
        typer.Argument(
            help="A run, a bundle, or a float32 .onnx file from darnet-trt export. A run and a "
            "bundle say which scans trained the network. A run also says who is on the test side."
        ),
    ],
    scans: Annotated[
        Path,
        typer.Argument(
            help="A cohort (cohort.csv), or any file or folder that predict reads. Some scans "
            "calibrate; those of other patients judge the decisions, all that did not train the "
            "network. Patients on the test side of the run or of the cohort do neither."
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
        Literal["auto", "minmax", "percentile", "kl", "mse"],
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
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="CPU threads. [default: each engine chooses]"),
    ] = None,
) -> None:
    """Report what int8 does to a network: best ranges, most harmed layers, changed decisions.

    Run the same command again to continue after an interruption; build --calibration with the same
    model and scans continues from there, too. Exit code 0: the report is written, even if int8 is
    not approved (report.md says so in its first line); 2: it is not written.
    """
    from darnet_trt.machine.cpus import share_cpus
    from darnet_trt.machine.hardware import require_packages
    from darnet_trt.runtime.engines.onnxruntime.package import import_onnxruntime

    share_cpus()
    require_packages("torch", "onnx", extra="train")
    import_onnxruntime()
    from darnet_trt.calibration.report import chart, headline, markdown
    from darnet_trt.calibration.scans.choosing import choose_scans, require_scans
    from darnet_trt.calibration.search.cost import announce
    from darnet_trt.calibration.search.search import Search, gather, trial_backend
    from darnet_trt.calibration.search.search import calibrate as calibrated
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.export.onnx.reading import classes_of, float_graph
    from darnet_trt.machine.files import sole_writer, whole_files
    from darnet_trt.training.fitting.records import sides_of_patients

    refuse_bundle_or_cohort(out)
    graph, spec, trained = float_graph(model)
    split = sides_of_patients(model)
    with sole_writer(out), resumable():
        require_scans(scans)
        announce(graph, say)
        chosen, held_out = choose_scans(
            scans,
            spec,
            count,
            seed,
            say,
            trained,
            classes_of(graph),
            split,
        )
        found = calibrated(
            graph,
            gather(graph, chosen, threads, say),
            ["u8"],
            chosen,
            held_out,
            Search(
                method, sensitivity=True, seconds=seconds, backend=trial_backend(), threads=threads
            ),
            say,
        )
        int8 = found["u8"]
        files = {
            "report.md": markdown(int8.report, int8.decisions),
            "calibration.json": int8.as_json(),
        }
        effects = int8.report.effects or int8.report.block_effects
        if effects:
            files["report.md"] += "\n![Effects of the layers](sensitivity.svg)\n"
            files["sensitivity.svg"] = chart(effects)
        whole_files({out / name: content.encode() for name, content in files.items()})
    for line in (*int8.decisions.failures, *int8.decisions.reserves, *int8.decisions.notes):
        say(f"calibration: {line}")
    say(headline(int8.report, int8.decisions))
    print_line(f"{out / 'report.md'}")
