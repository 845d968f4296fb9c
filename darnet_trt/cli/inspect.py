"""`darnet-trt inspect`: what is there, what may be classified, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darnet_trt.errors import DarnetError, ScanError, UnreadableScanError

if TYPE_CHECKING:
    from darnet_trt.scan import Choice, Preprocessing, Series, Study, Verdict

__all__ = ["inspect"]

PIPED_WIDTH = 140
"""Columns of the table where the output is no terminal."""


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Scans: files, folders, or folders of studies.",
            readable=False,  # one that is not readable is told, and the rest are listed
            show_default=False,
        ),
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Judge as this bundle's predictions do: which slices are decoded, and what the "
            "greys of image slices mean, depends on its preprocessing.  [default: the paper's]",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document instead of a table.")
    ] = False,
    headers_only: Annotated[
        bool,
        typer.Option(
            "--headers-only", help="Skip what needs pixels: whether it is a chest, in HU."
        ),
    ] = False,
) -> None:
    """List every series with its verdict, and which one would be classified.

    Exit code 0: each study has a series to classify; 1: some have none, or could not be read;
    2: nothing could be read.
    """
    from darnet_trt.scan import Preprocessing, find_studies
    from darnet_trt.scan.discovery import distinct_paths, unseen

    spec = Preprocessing()
    if bundle is not None:
        from darnet_trt.bundle.reading import open_bundle

        spec = open_bundle(bundle).manifest.preprocessing
    reports: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    seen: set[str] = set()
    for path in distinct_paths(paths):
        try:
            studies = unseen(find_studies(path), seen)
        except DarnetError as error:
            errors.append({"path": str(path), "error": str(error)})
            typer.echo(f"darnet-trt: {error}", err=True)
            continue
        reports += [_report(study, spec, headers_only) for study in studies]
    if as_json:
        typer.echo(json.dumps({"studies": reports, "errors": errors}, indent=1))
    elif reports:
        _print_table(reports)
    if not reports:
        raise typer.Exit(2)
    if errors or any(report["status"] != "ok" for report in reports):
        raise typer.Exit(1)


def _report(study: Study, spec: Preprocessing, headers_only: bool) -> dict[str, Any]:
    from darnet_trt.scan import judge_pixels

    verdicts = [
        series.verdict if headers_only else judge_pixels(series, spec) for series in study.series
    ]
    choice, status, why = _chosen(study, verdicts)
    rows = [
        _row(series, verdict, choice is not None and series == choice.series)
        for series, verdict in zip(study.series, verdicts, strict=True)
    ]
    return {
        "path": str(study.path),
        "study_uid": study.uid,
        "pixels_checked": not headers_only,
        "patient_id": study.patient_id,
        "series": rows,
        "chosen": next((i for i, row in enumerate(rows) if row["chosen"]), None),
        "status": status,
        "why": why,
    }


def _chosen(study: Study, verdicts: list[Verdict]) -> tuple[Choice | None, str, str]:
    """What a prediction would take, the status that it would give, and why."""
    from darnet_trt.scan.choice import none_loads, rank, skipped

    failed: list[tuple[Series, Verdict]] = []
    try:
        ranked = rank(study)
    except ScanError as error:
        return None, _status(not isinstance(error, UnreadableScanError)), error.what
    for choice in ranked:
        verdict = verdicts[study.series.index(choice.series)]
        if verdict.usable:
            others = (skipped(series, other.reason) for series, other in failed)
            return choice, "ok", "; ".join([choice.why, *others])
        failed.append((choice.series, verdict))
    why = none_loads([(series, verdict.reason) for series, verdict in failed])
    return None, _status(failed[0][1].readable), why


def _status(readable: bool) -> str:
    """Of what cannot be classified, in a prediction's words."""
    return "refused" if readable else "failed"


def _row(series: Series, verdict: Verdict, chosen: bool) -> dict[str, Any]:
    return {
        "path": str(series.path),
        "format": series.format,
        "series_uid": series.uid,
        "number": series.number,
        "description": series.description,
        "kernel": series.kernel,
        "slices": series.slices,
        "matrix": series.matrix,
        "spacing_mm": series.spacing_mm,
        "verdict": "usable" if verdict.usable else _status(verdict.readable),
        "reason": verdict.reason,
        "warnings": verdict.warnings,
        "chosen": chosen,
    }


def _print_table(reports: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_WIDTH)
    for report in reports:
        patient = f"  patient {report['patient_id']}" if report["patient_id"] else ""
        table = Table(
            title=escape(f"{report['path']}{patient}"), title_justify="left", title_style="bold"
        )
        table.add_column("", width=1)
        for name in ("series", "kernel", "slices", "mm (d×h×w)", "verdict", "reason and warnings"):
            table.add_column(name, overflow="fold")
        for row in report["series"]:
            style = "green" if row["verdict"] == "usable" else "red"
            remarks = [row["reason"], *(f"! {warning}" for warning in row["warnings"])]
            h, w = row["matrix"]
            table.add_row(
                "→" if row["chosen"] else "",
                escape(row["description"] or Path(row["path"]).name),
                escape(row["kernel"]),
                f"{row['slices']} of {h}×{w}" if h else str(row["slices"]),
                "×".join(f"{mm:.3g}" for mm in row["spacing_mm"] or ()),
                f"[{style}]{row['verdict']}[/]",
                escape("\n".join(remarks)),
            )
        console.print(table)
        lead = "chosen" if report["status"] == "ok" else report["status"]
        limit = "" if report["pixels_checked"] else " (by headers only)"
        console.print(escape(f"{lead}{limit}: {report['why']}\n"), soft_wrap=True)
