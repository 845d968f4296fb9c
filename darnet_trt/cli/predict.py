"""`darnet-trt predict`: classify chest CT scans with a bundle."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.printing import say
from darnet_trt.cli.progress import resumable

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.result_folder import ResultFolder
    from darnet_trt.runtime.prediction.results import Result

__all__ = ["predict"]


def predict(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN...",
            readable=False,  # one that is not readable gets its own result
            help="Files, series folders, studies, or folders of them.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for results.jsonl (a line a scan, as it is finished), results.csv "
            "(when the run ends) and the overlays.",
        ),
    ] = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            autocompletion=artifacts, help="Engine of the bundle to use instead of its default."
        ),
    ] = None,
    cam: Annotated[
        bool, typer.Option("--cam", help="Write an overlay PNG of the activation map a scan.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the results in --out: scans that this engine of this bundle has "
            "classified are left out, refused and failed ones are tried again, and a new result "
            "replaces the scan's old one.",
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of the engine; by default one for each core."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines on stdout, also on a terminal or with -o.")
    ] = False,
) -> None:
    """Classify chest CT scans; one result a scan, also for those refused or unreadable.

    Without -o the results go to stdout: a line a scan on a terminal, JSON lines otherwise.
    Exit code 0: every scan was classified; 1: some were refused or failed; 2: nothing could be
    done. Research use only: not a medical device.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.errors import UsageError
    from darnet_trt.runtime.engines.loading import load_engine
    from darnet_trt.runtime.prediction.predict import predict as results_of
    from darnet_trt.runtime.prediction.results import INTENDED_USE

    if out is None and (cam or resume):
        option = "--cam" if cam else "--resume"
        raise UsageError("it needs a folder for the results", where=option, do="add -o OUT")
    opened = open_bundle(bundle)
    use = f"trained on {opened.manifest.model.trained_on}. {INTENDED_USE}"
    say(use)
    statuses: list[str] = []
    with _opened(out, scans, resume=resume) as folder:
        # What is finished depends on which engine runs. Otherwise it loads beside the first scan.
        engine = load_engine(opened, artifact, threads=threads) if resume else None
        for result in results_of(
            opened,
            scans,
            artifact=artifact,
            threads=threads,
            engine=engine,
            evidence=cam,
            finished=folder.finished(opened.sha256, engine.artifact.name)
            if folder and engine
            else (),
            notify=say,
        ):
            statuses.append(result.status)
            if result.evidence is not None and folder is not None:
                from darnet_trt.runtime.prediction.overlay import with_overlay

                result = with_overlay(result, result.evidence, folder.folder)
            if folder is not None:
                folder.add(result)
            if folder is None or as_json:
                _print(result, as_json or not sys.stdout.isatty())
            if folder is not None or not sys.stdout.isatty():
                say(f"[{len(statuses)}] {summary(result)}")
    say(f"{_tally(statuses)}; {use}")
    if any(status != "ok" for status in statuses):
        raise typer.Exit(1)


@contextmanager
def _opened(out: Path | None, scans: list[Path], *, resume: bool) -> Iterator[ResultFolder | None]:
    if out is None:
        yield None
        return
    from darnet_trt.runtime.prediction.result_folder import ResultFolder

    again = "the same command" if resume else "the same command with --resume"
    with resumable(again), ResultFolder(out, resume=resume, asked=scans) as folder:
        yield folder


def summary(result: Result) -> str:
    """One line for a person: what came out, why this series, how long it took."""
    return _printable(_line(result))


def _printable(line: str) -> str:
    """Names of files may hold line breaks, control characters and what is not UTF-8."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _line(result: Result) -> str:
    scan = _shown(result.scan)
    if result.status != "ok":
        return f"{scan}: {result.status}: {result.reason}"
    best = result.predicted or ""
    notes = "".join(f"; {warning}" for warning in result.warnings)
    why = f", {result.series.why}" if result.series else ""
    seconds = result.stages_ms.total / 1000
    others = ", ".join(f"{n} {p:.1%}" for n, p in result.probabilities.items() if n != best)
    return (
        f"{scan}: {best} {result.probabilities[best]:.1%} ({others}){why}{notes} ({seconds:.2f} s)"
    )


def _print(result: Result, as_json: bool) -> None:
    from darnet_trt.machine.files import cannot_write_stdout
    from darnet_trt.runtime.prediction.results import json_line

    try:
        sys.stdout.write(json_line(result) if as_json else summary(result) + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise cannot_write_stdout(error) from error


def _tally(statuses: list[str]) -> str:
    counts = {status: statuses.count(status) for status in ("ok", "refused", "failed")}
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    return f"{len(statuses)} scan{'s' * (len(statuses) != 1)}: {told or 'nothing left to do'}"


def _shown(scan: str) -> str:
    """The path as short as it can be written from here."""
    short = os.path.relpath(scan)
    return scan if short.startswith("..") else short
