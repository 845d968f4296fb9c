"""`darnet-trt report`: one page about the results of many scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from darnet_trt.cli.printing import print_line


def report(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS",
            help="A folder that predict wrote with -o, or its results.jsonl.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PAGE",
            help="The page. [default: report.html beside the results]",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="COHORT",
            help="Also compare with the labels of this cohort: its folder or its cohort.csv. Its "
            "classes must be those of the results.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Also list the engines of this bundle, which made the results."),
    ] = None,
) -> None:
    """Write one HTML page about results, which any browser opens without a network.

    It shows totals, refusals by their reasons, classes, probabilities, warnings and times, and a
    table of all results to sort and filter. Up to 50 results have their overlays in it; more have
    links to the overlays in the results' folder. It holds what the results hold about patients, and
    only its owner may read it if that is so for them. Research use only: not a medical device.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.cli.labelled import labelled_cohort
    from darnet_trt.errors import UsageError
    from darnet_trt.machine.files import check_file_place
    from darnet_trt.runtime.prediction.report.labels import Labelled
    from darnet_trt.runtime.prediction.report.page import Page
    from darnet_trt.runtime.prediction.results.lines import JSONL, read_results

    folder = results if results.is_dir() else results.parent
    out = out or folder / "report.html"
    opened = open_bundle(bundle) if bundle else None
    if results.exists():
        check_file_place(out)
    labelled = None
    if labels:
        classified = (r.probabilities for r in read_results(results) if r.probabilities)
        labelled = Labelled(labelled_cohort(labels, tuple(next(classified, ()))))
    page = Page(folder, out, labelled)
    page.add(read_results(results))
    if labelled and page.summary.total:
        labelled.check()
    made_by = {sha for sha, _, _ in page.summary.engines}
    if opened and made_by and opened.sha256 not in made_by:
        raise UsageError("did not make these results", where=bundle, do="name the bundle that did")
    lines = results / JSONL if results.is_dir() else results
    page.write(
        manifest=opened.manifest if opened else None, private=not lines.stat().st_mode & 0o077
    )
    if labelled and page.summary.total:
        print_line(str(labelled))
    print_line(f"report: {out}")
