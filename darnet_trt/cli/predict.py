"""`darnet-trt predict`: classify chest CT scans with a bundle."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.printing import printable, relative, say
from darnet_trt.cli.progress import resumable

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.result_folder import ResultFolder
    from darnet_trt.runtime.prediction.results import Result

__all__ = ["predict"]


def _print_schema(asked: bool) -> None:
    if asked:
        import json

        from darnet_trt.runtime.prediction.results import json_schema

        _print(json.dumps(json_schema(), indent=1))
        raise typer.Exit


def predict(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN",
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
            help="Folder for results.jsonl (a line for each scan, written when it is done), "
            "results.csv (written when the run ends) and the overlays.",
        ),
    ] = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            autocompletion=artifacts, help="Engine of the bundle to use instead of its default."
        ),
    ] = None,
    cam: Annotated[
        bool, typer.Option("--cam", help="Draw an overlay PNG of each scan's activation map.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the results in --out: skip scans that this engine of this bundle has "
            "classified, and try refused and failed scans again. A new result replaces the "
            "scan's old one.",
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of the engine; by default one for each core."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON lines, also on a terminal and beside -o."),
    ] = False,
    _schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            callback=_print_schema,
            is_eager=True,
            help="Print the JSON schema of a result, and exit; needs no bundle.",
        ),
    ] = False,
) -> None:
    """Classify chest CT scans: one result for each scan, with the reason if it was not classified.

    Without -o the results go to stdout: on a terminal a readable line for each scan, otherwise
    JSON lines. Exit code 0: every scan was classified; 1: some were refused or failed; 2: the run
    could not start or go on. Research use only: not a medical device.
    """
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.errors import UsageError
    from darnet_trt.runtime.engines.loading import load_engine
    from darnet_trt.runtime.prediction.predict import predict as results_of
    from darnet_trt.runtime.prediction.results import INTENDED_USE, json_line

    if out is None and (cam or resume):
        option = "--cam" if cam else "--resume"
        raise UsageError("needs a folder for the results", where=option, do="add -o OUT")
    opened = open_bundle(bundle)
    use = f"trained on {opened.manifest.model.trained_on}. {INTENDED_USE}"
    say(use)
    as_json = as_json or (out is None and not sys.stdout.isatty())
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
            line = folder.add(result) if folder else json_line(result)
            if as_json:
                _print(line)
            elif folder is None:
                _print(f"{printable(summary(result))}\n")
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
    """Return one line for a person: the classes, why this series, what is unusual, the time."""
    from darnet_trt.runtime.prediction.results import percentages, undecided

    scan = relative(result.scan)
    if result.status != "ok":
        return f"{scan}: {result.status}: {result.reason}"
    best, *others = percentages(result.probabilities)
    doubt = undecided(result.probabilities)
    parts = [doubt or f"{best} ({', '.join(others)})"]
    parts += [result.series.why] if result.series else []
    parts += [warning for warning in result.warnings if warning != doubt]
    return f"{scan}: {'; '.join(parts)} ({result.stages_ms.total / 1000:.2f} s)"


def _print(text: str) -> None:
    from darnet_trt.machine.files import cannot_write_stdout

    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise cannot_write_stdout(error) from error


def _tally(statuses: list[str]) -> str:
    counts = {status: statuses.count(status) for status in ("ok", "refused", "failed")}
    listed = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    return f"{len(statuses)} scan{'s' * (len(statuses) != 1)}: {listed or 'nothing left to do'}"
