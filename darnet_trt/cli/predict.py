"""`darnet-trt predict`: classify chest CT scans with a bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from darnet_trt.cli import printing
from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.deliver import Ae, Listen, as_given
from darnet_trt.cli.printing import say, warn
from darnet_trt.machine.cpus import MOST_THREADS


def _print_schema(asked: bool) -> None:
    if asked:
        import json

        from darnet_trt.runtime.prediction.results.result import json_schema

        sys.stdout.write(json.dumps(json_schema(), indent=1) + "\n")
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
            "PNG, JPEG or TIFF slices. Of a cohort (cohort.csv, a split file of CC-CCII, or the "
            "folder of its cleaned form) its scans, with their slices in the order it gives.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for results.jsonl (a line for each study, written when it is done), "
            "results.csv (written when the run ends) and the overlays. [default: none, results "
            "go to stdout]",
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
        bool,
        typer.Option(
            "--cam",
            help="Draw an overlay PNG of each scan's activation map; with --resume also of the "
            "scans that have none yet. [default: none is drawn]",
        ),
    ] = False,
    dicom: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS",
            help="Write DICOM objects of each DICOM study below --out: sr (structured report), pm "
            "(map), sc (picture), refusal (report of a refused study), joined by commas. They name "
            "the patient. With --resume also of the scans that have none yet. Needs the extra "
            "dicom. [default: none]",
        ),
    ] = None,
    send: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PEER",
            help="Send the DICOM objects (--dicom; sr,pm,sc if not given) to this peer while "
            "classifying: AE@host:port, or the https:// address of a DICOMweb service. May be "
            "given again. What a peer does not take now is kept for darnet-trt deliver. [default: "
            "none are sent]",
        ),
    ] = None,
    send_refusals: Annotated[
        bool,
        typer.Option(
            "--send-refusals",
            help="With --send: also send a report of each refused study. [default: none is made]",
        ),
    ] = False,
    ae: Ae = None,
    listen: Listen = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the results in --out: classify studies that are new or have changed, or "
            "that another bundle or engine classified; a new result replaces the study's old one. "
            "[default: a folder with results is refused]",
        ),
    ] = False,
    retry_refused: Annotated[
        bool,
        typer.Option(
            "--retry-refused",
            help="With --resume: classify refused studies again. [default: they are left alone]",
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="With --resume: try all failed studies again. [default: only those whose reason "
            "may have passed, such as a file that could not be opened]",
        ),
    ] = False,
    refused_is_failure: Annotated[
        bool,
        typer.Option(
            "--refused-is-failure",
            help="Exit with code 1 where a study was refused. [default: a refusal is a result]",
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Keep running, and classify studies that come into the folders, until SIGTERM or "
            "Ctrl-C. Slices that come late replace the study's result. Needs -o. [default: end "
            "when all is classified]",
        ),
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            min=0.5,
            metavar="SECONDS",
            help="With --watch: take a study when nothing of it has changed for so long; five "
            "times as long where slices are missing by its own numbers.",
        ),
    ] = 60.0,
    durable: Annotated[
        bool,
        typer.Option(
            "--durable",
            help="Have each result on the disk before the next one, so that a power cut loses "
            "none. [default: results survive the end of the program, however it ends]",
        ),
    ] = False,
    identifiers: Annotated[
        bool,
        typer.Option(
            "--identifiers",
            help="Write patient ID, accession number and study date as they are, into files that "
            "only you may read. [default: keyed hashes of them]",
        ),
    ] = False,
    pseudonym_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Key of these hashes; the same on several machines gives the same hashes. "
            "[default: pseudonyms.key in ~/.config/darnet-trt, made once]",
        ),
    ] = None,
    parquet: Annotated[
        bool,
        typer.Option(
            "--parquet",
            help="Write results.parquet beside results.csv; needs the extra parquet. [default: no]",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Classify one of N parts of the scans: 3/16 is the third of sixteen. The parts "
            "are the same on every machine. [default: all]",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run as shards on the Ray cluster whose head has this address, such as "
            "10.0.0.1:6379, and join the results; auto: the cluster of this machine. A shard takes "
            "as many CPUs as the larger of --threads and --workers (1 each unless told otherwise), "
            "and the engine's GPU. Needs -o and the extra cluster. [default: run here]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_THREADS, help="The engine's CPU threads. [default: one for each core]"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Most processes that read scans. [default: one for each core]"),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Most memory that the run may take, all processes together, such as 4G or 1500M "
            "(powers of 1024, as in systemd). [default: what it needs, at most what is free]",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print JSON lines to stdout, even on a terminal or with -o. [default: only where "
            "stdout is no terminal and there is no -o]",
        ),
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
    of its warnings, otherwise JSON lines. Exit code 0: every study was classified, or refused with
    its reason; 1: some failed, or --send left objects undelivered; 2: no scan was found, or the run
    could not start or go on. With -q (for cron) a run that went well prints nothing. Research use
    only: not a medical device.
    """
    from darnet_trt.machine.worker import start_early

    if ray is None:
        start_early("darnet_trt.scan.isolated")  # before slow imports
    from darnet_trt.bundle.reading import open_bundle, pick_artifact
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.cli.predict_delivery import delivering
    from darnet_trt.cli.predict_output import OutputOptions, opened
    from darnet_trt.cli.predict_progress import RunProgress
    from darnet_trt.cli.predict_run import Run, follow, once
    from darnet_trt.errors import UsageError
    from darnet_trt.machine.memory import size_of
    from darnet_trt.runtime.engines.loading import load_engine
    from darnet_trt.runtime.prediction.history.history import History
    from darnet_trt.runtime.prediction.history.index import INDEX
    from darnet_trt.runtime.prediction.history.watch import Arrivals
    from darnet_trt.runtime.prediction.results.result import (
        INTENDED_USE,
        OBJECTS,
        REFUSAL,
        check_kinds,
    )
    from darnet_trt.runtime.prediction.shards.shard import parse_shard
    from darnet_trt.scan.discovery.places import places

    needs = {"--cam": cam, "--resume": resume, "--watch": watch, "--parquet": parquet}
    needs |= {"--dicom": dicom is not None, "--send": bool(send), "--ray": ray is not None}
    if out is None and (given := [option for option, wanted in needs.items() if wanted]):
        raise UsageError("needs a folder for the results", where=given[0], do="add -o OUT")
    retries = {"--retry-refused": retry_refused, "--retry-failed": retry_failed}
    if not resume and (given := [option for option, wanted in retries.items() if wanted]):
        raise UsageError("needs results to continue", where=given[0], do="add --resume")
    sending = {"--send-refusals": send_refusals, "--ae": ae is not None}
    sending["--listen"] = listen is not None
    if not send and (given := [option for option, wanted in sending.items() if wanted]):
        raise UsageError("needs a peer", where=given[0], do="add --send PEER")
    unfit = {"--watch": watch, "--json": as_json, "--shard": shard is not None}
    unfit["--send"] = bool(send)
    if ray is not None and (given := [option for option, wanted in unfit.items() if wanted]):
        raise UsageError("cannot be given with --ray", where=given[0], do="omit one of the two")
    if out is not None:
        refuse_bundle_or_cohort(out)
    peers, ours = as_given(send, ae, listen) if send else ([], None)
    if dicom is None and send:
        dicom = ",".join(OBJECTS)
    named = dicom.replace(" ", "").split(",") if dicom is not None else []
    kinds = tuple(dict.fromkeys(named + [REFUSAL] * send_refusals))
    if kinds:
        from darnet_trt.runtime.delivery.objects.make import need_highdicom

        check_kinds(kinds)
        need_highdicom()
    bound = size_of(memory, "--memory") if memory is not None else None
    part = parse_shard(shard) if shard else None
    searched = places(scans, part, tell=say)
    of = open_bundle(bundle)
    engine_of_it = pick_artifact(of, artifact)
    chosen = engine_of_it.name
    use = f"trained on {of.manifest.model.trained_on}. {INTENDED_USE}"
    say(use)
    if ray is not None and out is not None:
        from darnet_trt.cli.predict_cluster import ClusterOptions, predict_on_cluster

        options_of_each = {
            "--artifact": artifact,
            "--cam": cam,
            "--dicom": dicom,
            "--retry-refused": retry_refused,
            "--retry-failed": retry_failed,
            "--refused-is-failure": refused_is_failure,
            "--durable": durable,
            "--identifiers": identifiers,
            "--threads": threads or 1,
            "--workers": workers or 1,
            "--memory": memory,
        }
        asked = ClusterOptions(
            ray,
            out,
            resume,
            identifiers,
            pseudonym_key,
            parquet,
            cpus=max(threads or 1, workers or 1),
            gpus=int(engine_of_it.target != "cpu"),
        )
        if predict_on_cluster(asked, bundle, scans, options_of_each):
            raise typer.Exit(1)
        return
    options = OutputOptions(
        out, cam, as_json, resume, durable, identifiers, pseudonym_key, parquet, part
    )
    with opened(options) as output, delivering(output, peers, ours) as sent:
        # What is finished depends on which engine runs. Otherwise it loads beside the first scan.
        engine = load_engine(of, artifact, threads=threads) if resume or watch else None
        make: Callable[..., History] = partial(Arrivals, settle_s=settle) if watch else History
        history = make(
            out / INDEX if out else None,
            output.folder.standing if output.folder else lambda key: None,
            bundle=of.sha256,
            artifact=engine.artifact.name if engine else chosen,
            overlays=cam,
            dicom=kinds,
            retry_refused=retry_refused,
            retry_failed=retry_failed,
        )
        progress = RunProgress(history.walked)
        with history:
            run = Run(
                of,
                engine,
                artifact,
                threads,
                workers,
                bound,
                cam,
                kinds,
                history,
                output,
                progress,
            )
            if isinstance(history, Arrivals):
                follow(run, history, searched, settle)
                nothing = False
            else:
                progress.count_files(searched)
                nothing = once(run, searched, of_shard=part is not None)
            done = history.known()
    for line in progress.report(output.where(), done):
        say(line)
    left = sent.tell()
    failed = progress.failed(refused_too=refused_is_failure)
    (warn if failed and printing.quiet else say)(f"{progress.tally()}; {use}")
    if output.lost is not None:
        raise output.lost
    if nothing:
        raise typer.Exit(2)
    if failed or left:
        raise typer.Exit(1)
