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
    from darnet_trt.runtime.prediction.results.folder import ResultFolder
    from darnet_trt.runtime.prediction.results.result import Result


def _print_schema(asked: bool) -> None:
    if asked:
        import json

        from darnet_trt.runtime.prediction.results.result import json_schema

        _print(json.dumps(json_schema(), indent=1) + "\n")
        raise typer.Exit


def predict(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN",
            readable=False,  # one that is not readable gets its own result
            help="Files, folders or zip archives with one study or many: DICOM (also packed, "
            ".dcm.gz), NIfTI (.nii, .nii.gz, .hdr with .img), NRRD, MetaImage, and folders of "
            "PNG, JPEG or TIFF slices.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for results.jsonl (a line for each study, written when it is done), "
            "results.csv (written when the run ends) and the overlays.",
        ),
    ] = None,
    artifact: Annotated[
        str | None,
        typer.Option(
            autocompletion=artifacts,
            help="Engine to use, named as in bundle show. [default: the bundle's default engine]",
        ),
    ] = None,
    cam: Annotated[
        bool, typer.Option("--cam", help="Draw an overlay PNG of each scan's activation map.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the results in --out: skip studies that this engine of this bundle has "
            "classified, and try refused and failed ones again. A new result replaces the "
            "study's old one.",
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads. [default: one for each core]"),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON lines to stdout, even on a terminal or with -o."),
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
    """Classify chest CT scans: one result for each study, with the reason if not classified.

    Without -o the results go to stdout: on a terminal a readable line for each study and for each
    of its warnings, otherwise JSON lines. Exit code 0: every study was classified; 1: some were
    refused or failed; 2: the run could not start or go on. Research use only: not a medical device.
    """
    from darnet_trt.machine.worker import start_early

    start_early("darnet_trt.scan.isolated")  # before slow imports
    from darnet_trt.bundle.reading import open_bundle
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.errors import UsageError
    from darnet_trt.runtime.engines.loading import load_engine
    from darnet_trt.runtime.prediction.predict import predict as results_of
    from darnet_trt.runtime.prediction.results.lines import JSONL
    from darnet_trt.runtime.prediction.results.pseudonyms import Pseudonyms
    from darnet_trt.runtime.prediction.results.result import INTENDED_USE, json_line, undecided
    from darnet_trt.runtime.prediction.results.tables import CSV
    from darnet_trt.scan.discovery import Counts

    if out is None and (cam or resume):
        option = "--cam" if cam else "--resume"
        raise UsageError("needs a folder for the results", where=option, do="add -o OUT")
    if out is not None:
        refuse_bundle_or_cohort(out)
    opened = open_bundle(bundle)
    use = f"trained on {opened.manifest.model.trained_on}. {INTENDED_USE}"
    say(use)
    as_json = as_json or (out is None and not sys.stdout.isatty())
    statuses: list[str] = []
    counts: list[Counts] = []
    doubtful = drawn = 0
    pseudonyms = Pseudonyms(notify=say)
    with _opened(out, resume=resume) as folder:
        # What is finished depends on which engine runs. Otherwise it loads beside the first scan.
        engine = load_engine(opened, artifact, threads=threads) if resume else None
        for result in results_of(
            opened,
            scans,
            artifact=artifact,
            threads=threads,
            engine=engine,
            evidence=cam,
            finished=_finished(folder, opened.sha256, engine.artifact.name)
            if folder and engine
            else (),
            notify=say,
            counted=counts.append,
        ):
            statuses.append(result.status)
            doubtful += result.status == "ok" and undecided(result.probabilities) is not None
            if result.evidence is not None and folder is not None:
                from darnet_trt.runtime.prediction.results.overlay import with_overlay

                result = with_overlay(result, result.evidence, folder)
                drawn += result.overlay is not None
            result = folder.add(result) if folder else pseudonyms.applied(result)
            if as_json:
                _print(json_line(result))
            elif folder is None:
                for text in summary(result):
                    _print(f"{printable(text)}\n")
            if folder is not None or not sys.stdout.isatty():
                first, *warnings = summary(result)
                say(f"[{len(statuses)}] {first}")
                for warning in warnings:
                    say(warning)
    if files := sum(counts, start=Counts()):
        say(str(files))
    if out is not None:
        overlays = f", {drawn} overlay{'s' * (drawn != 1)}" if drawn else ""
        say(f"results: {out / CSV}, {JSONL}{overlays}")
    say(f"{_tally(statuses, doubtful)}; {use}")
    if any(status != "ok" for status in statuses):
        raise typer.Exit(1)


@contextmanager
def _opened(out: Path | None, *, resume: bool) -> Iterator[ResultFolder | None]:
    if out is None:
        yield None
        return
    from darnet_trt.runtime.prediction.results.folder import ResultFolder

    again = "the same command" if resume else "the same command with --resume"
    with resumable(again), ResultFolder(out, resume=resume, notify=say) as folder:
        yield folder


def _finished(folder: ResultFolder, bundle: str, artifact: str) -> frozenset[tuple[str, str]]:
    """Return (scan, study_uid) of the scans that this engine of this bundle classified."""
    return frozenset(
        (r.scan, r.study_uid)
        for r in folder.results()
        if (r.bundle_sha256, r.artifact, r.status) == (bundle, artifact, "ok")
    )


def summary(result: Result) -> list[str]:
    """Return lines for a person: the classes, why this series and the time; then the warnings."""
    from darnet_trt.runtime.prediction.results.result import percentages, undecided

    scan = relative(result.scan)
    if result.status != "ok":
        return [f"{scan}: {result.status}: {result.reason}", *map(_warning, result.warnings)]
    best, *others = percentages(result.probabilities)
    doubt = undecided(result.probabilities)
    parts = [doubt or f"{best} ({', '.join(others)})"]
    parts += [result.series.why] if result.series else []
    warnings = [_warning(warning) for warning in result.warnings if warning != doubt]
    return [f"{scan}: {'; '.join(parts)} ({result.stages_ms.total / 1000:.2f} s)", *warnings]


def _warning(text: str) -> str:
    return f"    ! {text}"


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _tally(statuses: list[str], doubtful: int) -> str:
    if not statuses:
        return "nothing left to do"
    doubt = f" ({doubtful} undecided)" if doubtful else ""
    notes = {"ok": doubt, "refused": "", "failed": ""}
    listed = [f"{statuses.count(s)} {s}{note}" for s, note in notes.items() if s in statuses]
    return f"{len(statuses)} scan{'s' * (len(statuses) != 1)}: {', '.join(listed)}"
