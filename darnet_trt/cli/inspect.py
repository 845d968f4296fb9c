"""`darnet-trt inspect`: list what can be classified, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.printing import print_line, print_rich, printable, relative, warn
from darnet_trt.errors import DarnetError

if TYPE_CHECKING:
    from darnet_trt.scan.inspection import SeriesReport, StudyReport

TABLE_WIDTH = 100
"""Columns that the table of studies needs, lest its reasons are cut into single words."""


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Files, folders or zip archives with one study or many: DICOM (also packed, "
            ".dcm.gz), NIfTI (.nii, .nii.gz, .hdr with .img), NRRD, MetaImage, and folders of "
            "PNG, JPEG or TIFF slices. Of a cohort (cohort.csv, a split file of CC-CCII, or the "
            "folder of its cleaned form) its scans, with their slices in the order it gives.",
            readable=False,  # one that is not readable is reported, and the rest are listed
            show_default=False,
        ),
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Judge scans as predict does with this bundle: its preprocessing decides which "
            "slices are decoded, and what the greys of picture files mean. "
            "[default: what train uses]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document instead of tables.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show all series of every study."),
    ] = False,
    headers_only: Annotated[
        bool,
        typer.Option(
            "--headers-only",
            help="Check headers only, not whether the pixels show a chest in Hounsfield units.",
        ),
    ] = False,
) -> None:
    """List the studies that predict would classify and those it would refuse, with the reason.

    Prints one line for each study, or all series if there is only one study. Exit code 0: each
    study has a series to classify; 1: some have none, or could not be read; 2: nothing could be
    read.
    """
    if not headers_only:
        from darnet_trt.machine.worker import start_early

        start_early("darnet_trt.scan.isolated")  # before slow imports
    from darnet_trt.scan.discovery import Counts, search, unseen
    from darnet_trt.scan.discovery.places import places
    from darnet_trt.scan.inspection import FileCounts, Inspection, PathError, inspect_study
    from darnet_trt.scan.isolated import reader
    from darnet_trt.scan.preprocessing import NEW

    spec = NEW
    if bundle is not None:
        from darnet_trt.bundle.reading import open_bundle

        spec = open_bundle(bundle).manifest.preprocessing
    reports: list[StudyReport] = []
    errors: list[PathError] = []
    seen: set[str] = set()
    files = Counts()
    with nullcontext() if headers_only else reader() as pixels:
        for place in places(paths, tell=warn if not as_json else lambda line: None):
            try:
                found = search(place)
            except DarnetError as error:
                errors.append(PathError(path=str(place.path), error=str(error), code=error.code))
                warn(f"darnet-trt: {error}")
                continue
            files += found.counts
            studies = unseen(found.studies, seen)
            reports += [inspect_study(study, spec, pixels) for study in studies]
    if as_json:
        inspection = Inspection(
            studies=tuple(reports),
            errors=tuple(errors),
            files=FileCounts(
                found=files.found, used=files.used, unread=files.unread, ignored=files.ignored
            ),
        )
        typer.echo(inspection.json_text())
    elif verbose or len(reports) == 1:
        _print_details(reports)
    elif reports:
        _print_summary(reports)
    if reports and len(reports) + len(errors) > 1 and not as_json:
        counts = Counter(report.status for report in reports)
        listed = ", ".join(f"{counts[s]} {s}" for s in ("ok", "refused", "failed") if counts[s])
        unread = f"; {_counted(len(errors), 'path')} could not be read" if errors else ""
        print_line(f"{_counted(len(reports), 'study', 'studies')}: {listed}{unread}")
    if reports and not as_json:
        print_line(str(files))
    if not reports:
        raise typer.Exit(2)
    if errors or any(report.status != "ok" for report in reports):
        raise typer.Exit(1)


def _print_summary(reports: Sequence[StudyReport]) -> None:
    """Print one line for each study: a table, or on a narrow terminal plain lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 1000  # a line a study
    narrow = console.width < TABLE_WIDTH
    table = Table(box=None, pad_edge=False)
    for name in ("study", "slices", "mm (d×h×w)", "kernel", "verdict", "reason"):
        table.add_column(name, overflow="fold", no_wrap=name not in ("study", "reason"))
    for report in reports:
        only = report.series[0] if len(report.series) == 1 else None
        row = only if report.chosen is None else report.series[report.chosen]
        warnings = len(row.warnings) if row else 0
        remarks = f"; {_counted(warnings, 'warning')}" if warnings else ""
        path, reason = relative(report.path), f"{report.why}{remarks}"
        if narrow:
            print_line(f"{path}: {report.status}: {reason}")
            continue
        table.add_row(
            printable(path),
            _slices(row) if row else "",
            _spacing(row) if row else "",
            printable(row.kernel) if row else "",
            Text(report.status, style="green" if report.status == "ok" else "red"),
            printable(reason),
        )
    if not narrow:
        print_rich(console, table)


def _counted(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _slices(row: SeriesReport) -> str:
    h, w = row.matrix
    if h:
        return f"{row.slices} of {h}×{w}"
    return str(row.slices) if row.slices > 1 else ""  # a file that cannot be read has none


def _spacing(row: SeriesReport) -> str:
    return "×".join(f"{mm:.3g}" for mm in row.spacing_mm or ())


def _print_details(reports: Sequence[StudyReport]) -> None:
    """Print a paragraph for each study: its series, their reasons and warnings, the choice."""
    for number, report in enumerate(reports):
        if number:
            print_line()
        patient = f"  patient {report.patient_id}" if report.patient_id else ""
        print_line(f"{report.path}{patient}")
        for row in report.series:
            size = f"{_spacing(row)} mm" if row.spacing_mm else ""
            facts = ", ".join(filter(None, (row.kernel, _slices(row), size)))
            about = f" ({facts})" if facts else ""
            name = row.description or Path(row.path).name
            print_line(f"  {'→' if row.chosen else ' '} {name}{about}: {row.verdict}")
            if row.reason != report.why:  # the only series' reason is the study's, below
                print_line(f"      {row.reason}")
            for warning in row.warnings:
                print_line(f"      ! {warning}")
        lead = "chosen" if report.status == "ok" else report.status
        limit = "" if report.pixels_checked else " (by headers only)"
        print_line(f"{lead}{limit}: {report.why}")
