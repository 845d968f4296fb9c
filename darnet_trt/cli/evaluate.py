"""`darnet-trt evaluate`: measure a run or an engine on a labelled cohort."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from darnet_trt.cli.printing import print_line, say, warn
from darnet_trt.cli.progress import resumable
from darnet_trt.machine.cpus import MOST_THREADS

if TYPE_CHECKING:
    from darnet_trt.cli.evaluate_output import Evaluation

_NAMED = 5
"""Scans that trained the weights, or are on another side, that are named on the terminal."""


def evaluate(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|BUNDLE",
            help="A run that train wrote, its checkpoint, or a bundle that build wrote.",
            show_default=False,
        ),
    ],
    cohort: Annotated[
        Path,
        typer.Argument(
            help="The labelled cohort, in any form that train reads. Its classes must be among "
            "the network's.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder to write: metrics.json, predictions.csv, roc.png, confusion.png, "
            "reliability.png.",
            show_default=False,
        ),
    ],
    artifact: Annotated[
        str | None,
        typer.Option(
            metavar="ENGINE",
            help="The bundle's engine to run, int8 too, as bundle show lists them. [default: the "
            "bundle's default engine]",
        ),
    ] = None,
    side: Annotated[
        Literal["held-out", "test"] | None,
        typer.Option(
            help="Evaluate only the scans that --folds, or the cohort's column side or split, puts "
            "there. [default: all scans but those on the side train]",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Folds, as cohort folds writes them: their sides hold, not the cohort's. Needs "
            "--side test or --fold.",
            show_default=False,
        ),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="The fold that was held out, from 0: of --folds, or of the cohort's table. The "
            "other folds are the side train.",
            show_default=False,
        ),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep the preprocessed scans in this folder, for other evaluations of the same "
            "scans. [default: in --out until the evaluation is whole]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_THREADS, help="CPU threads. [default: torch's or the engine's]"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json instead of the table.")
    ] = False,
) -> None:
    """Measure a run or an engine on a labelled cohort, with 95 % intervals over patients.

    Scans that trained the weights are left out, by patient and by content; so are scans that
    cannot be used, each with its reason. The first class is the positive one. Run the same command
    again to continue an interrupted evaluation. Exit code 1: evaluated, but some scans could not be
    read; 2: nothing could be evaluated. Needs the extra plots. Research use only: not a medical
    device.
    """
    from darnet_trt.machine.cpus import share_cpus

    share_cpus()
    from darnet_trt.cli.evaluate_network import UNKNOWN, opened
    from darnet_trt.cli.evaluate_output import METRICS, Evaluation
    from darnet_trt.cli.evaluate_scans import scored
    from darnet_trt.cli.labelled import folds_of, labelled_cohort, print_notes
    from darnet_trt.cli.output_folder import refuse_all_but
    from darnet_trt.errors import UsageError, counted
    from darnet_trt.evaluation.pictures import need_matplotlib
    from darnet_trt.machine.files import sole_writer
    from darnet_trt.runtime.prediction.results.result import INTENDED_USE

    if folds is not None and fold is None and side != "test":
        raise UsageError(
            "does not say which fold was held out",
            where="--folds",
            do="add --fold N or --side test",
        )
    refuse_all_but("evaluation", out)
    if (out / METRICS).exists():
        raise UsageError(f"holds {METRICS} already", where=out, do="choose another folder")
    need_matplotlib()
    with opened(network, artifact, threads) as judged:
        scans = labelled_cohort(cohort, judged.classes)
        if folds is not None or fold is not None:
            scans = folds_of(scans, folds).placed(scans, fold)
        print_notes(scans)
        for warning in judged.warnings:
            warn(f"warning: {warning}")
        if judged.trained is None:
            warn(f"warning: {UNKNOWN}")
        kept = inputs or out / "inputs"
        with sole_writer(out), resumable():
            evaluation = Evaluation(judged, scans, scored(judged, scans, kept, side))
            _name(evaluation)
            if not evaluation.measured:
                raise UsageError(
                    f"no scan is left to evaluate: {_counts(evaluation)}",
                    where=cohort,
                    do="name another side or fold"
                    if evaluation.left_out.keys() == {"other-side"}
                    else "give scans that did not train the weights and can be classified. Where "
                    "other patients have the same names, change these in the table",
                )
            say(f"trained on {judged.facts['trained_on']}. {INTENDED_USE}")
            say("drawing patients for the intervals")
            evaluation.write(out)
            if inputs is None:
                shutil.rmtree(kept, ignore_errors=True)
    if as_json:
        typer.echo((out / METRICS).read_text(), nl=False)
    else:
        patients = len(set(evaluation.patients))
        number = counted(len(evaluation.measured), "scan")
        print_line(f"{number} of {counted(patients, 'patient')} evaluated")
        if evaluation.left_out:
            print_line(f"left out: {_counts(evaluation)}")
        print_line()
        evaluation.show()
        print_line()
        print_line(f"the evaluation is in {out}")
    if evaluation.left_out["failed"]:
        raise typer.Exit(1)


def _counts(evaluation: Evaluation) -> str:
    from darnet_trt.cli.evaluate_scans import LEFT_OUT

    left_out = evaluation.left_out
    return ", ".join(f"{left_out[s]} {words}" for s, words in LEFT_OUT.items() if left_out[s])


def _name(evaluation: Evaluation) -> None:
    """Say which scans are left out, and why; of many with the same reason the first ones."""
    from darnet_trt.cli.output_folder import PREDICTIONS

    for status in evaluation.left_out:
        group = [one for one in evaluation.scored if one.status == status]
        few = len(group) if status in ("refused", "failed") else _NAMED
        tell = warn if status == "failed" else say
        for one in group[:few]:
            tell(f"left out: {evaluation.cohort.name(one.entry)}: {one.reason}")
        if len(group) > few:
            named = f" ({PREDICTIONS} names them)" if evaluation.measured else ""
            say(f"left out: {len(group) - few} more of these{named}")
