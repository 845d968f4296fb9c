"""`darnet-trt serve`: classify what comes in over DICOM and HTTP, until it is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from darnet_trt.cli.completion import artifacts
from darnet_trt.cli.deliver import Ae, Listen, as_given
from darnet_trt.machine.cpus import MOST_THREADS

_WHAT, _HTTP, _DICOM = "What it classifies with", "HTTP", "DICOM"
_TLS, _RESULTS, _LIMITS = "TLS of both doors", "Results", "Limits"


def serve(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.", show_default=False)],
    state: Annotated[
        Path,
        typer.Option(
            "--state",
            metavar="FOLDER",
            help="Folder for what came in and its results; a start goes on with it. One process "
            "uses it at a time.",
            show_default=False,
        ),
    ],
    artifact: Annotated[
        str | None,
        typer.Option(
            autocompletion=artifacts,
            rich_help_panel=_WHAT,
            help="Engine to use, named as in bundle show. [default: the bundle's default engine]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_THREADS,
            rich_help_panel=_WHAT,
            help="The engine's CPU threads. [default: one for each core]",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            rich_help_panel=_WHAT,
            help="Most processes that read scans. [default: one for each core]",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=_WHAT,
            help="Most memory that reading and classifying may take, such as 4G or 1500M. "
            "[default: what it needs, at most what is free]",
        ),
    ] = None,
    http: Annotated[
        str,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            rich_help_panel=_HTTP,
            help="Address to listen on; off: HTTP is off. Beyond this machine it needs "
            "--token-file or --tls-clients.",
        ),
    ] = "127.0.0.1:8000",
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_HTTP,
            help="File whose only line is the token that callers must show (Authorization: Bearer "
            "TOKEN). [default: none is asked for, on this machine alone]",
        ),
    ] = None,
    dicom: Annotated[
        str,
        typer.Option(
            "--dicom",
            metavar="HOST:PORT",
            rich_help_panel=_DICOM,
            help="Address to listen on; off: DICOM is off. Beyond this machine it needs "
            "--tls-clients, or --dicom-plain for each peer.",
        ),
    ] = "127.0.0.1:11112",
    ae: Ae = None,
    dicom_peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AE[@ADDRESS]",
            rich_help_panel=_DICOM,
            help="Let only peers with this title send, from this address or network if one is "
            "given. With @ADDRESS:PORT they take answers to requests to commit there. May be given "
            "again. [default: anybody who may connect]",
        ),
    ] = None,
    dicom_plain: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AE@ADDRESS",
            rich_help_panel=_DICOM,
            help="The same, and let this peer send without TLS: whoever listens on the network can "
            "read its scans. May be given again. [default: none, beyond this machine]",
        ),
    ] = None,
    dicom_peers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_DICOM,
            help="File (TOML) with a table of each such peer, named by its title: hosts, plain, "
            "quiet_s, port. [default: none]",
        ),
    ] = None,
    dicom_rate: Annotated[
        float | None,
        typer.Option(
            metavar="SLICES",
            rich_help_panel=_DICOM,
            help="Most slices a second of one peer; more wait for their turn. [default: any]",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_TLS,
            help="Our certificate with its chain (PEM). [default: no TLS]",
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_TLS, help="Its private key (PEM)."),
    ] = None,
    tls_clients: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_TLS,
            help="Certificates (PEM) that sign those of clients; clients without one are refused. "
            "[default: clients need none]",
        ),
    ] = None,
    settle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[AE=]SECONDS",
            rich_help_panel=_RESULTS,
            help="Take a study when nothing of it has come for so long, from this peer if one is "
            "named; a quarter of it suffices where nothing is missing by the study's own numbers. "
            "May be given again. [default: 10]",
        ),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            metavar="KINDS",
            rich_help_panel=_RESULTS,
            help="DICOM objects to make of each result: sr (structured report), pm (map), sc "
            "(picture), refusal (report of a refused study), joined by commas. [default: none; "
            "with --send sr,pm,sc]",
        ),
    ] = None,
    send: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PEER",
            rich_help_panel=_RESULTS,
            help="Send these objects to this peer: AE@host:port, or the https:// address of a "
            "DICOMweb service. May be given again. [default: none are sent]",
        ),
    ] = None,
    listen: Listen = None,
    identifiers: Annotated[
        bool,
        typer.Option(
            "--identifiers",
            rich_help_panel=_RESULTS,
            help="Keep and show patient ID, accession number and study date as they are. [default: "
            "keyed hashes of them]",
        ),
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            rich_help_panel=_LIMITS,
            help="Remove a study and its results so long after their last change: 12h, 7d, 4w. "
            "[default: they are kept]",
        ),
    ] = None,
    least_free: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=_LIMITS,
            help="Refuse what comes in where less of the disk is free.",
        ),
    ] = "2G",
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            rich_help_panel=_LIMITS,
            help="How long SIGTERM waits for what is under way; a second one ends at once.",
        ),
    ] = 60.0,
) -> None:
    """Serve a bundle: classify what comes in over DICOM and HTTP, until SIGTERM or Ctrl-C.

    Every slice that it acknowledged is on the disk, and is counted in exactly one result that
    stands. SIGHUP loads the bundle again; the old one stays where the new one fails its self-test.
    See docs/serving.md. Exit code 0: it was stopped, and what it took is done; 1: something was
    left for the next start; 2: it could not start. Research use only: not a medical device.
    """
    from darnet_trt.machine.worker import start_early

    start_early("darnet_trt.scan.isolated")  # before slow imports
    from darnet_trt.cli.serve_options import (
        address_of,
        check_range,
        need_packages,
        peers_of,
        quiet,
        seconds_of,
        tls_of,
        token_of,
    )
    from darnet_trt.cli.serve_run import run
    from darnet_trt.errors import UsageError
    from darnet_trt.machine.memory import size_of
    from darnet_trt.runtime.delivery.deliver import OUR_TITLE
    from darnet_trt.runtime.delivery.peers.address import parse_title
    from darnet_trt.runtime.prediction.results.result import OBJECTS, check_kinds
    from darnet_trt.runtime.serving.dicom.peers import read_peers
    from darnet_trt.runtime.serving.settings import (
        LONGEST_GRACE_S,
        RATES,
        DicomSettings,
        HttpSettings,
        Settings,
    )

    need_packages()
    check_range(grace, 0, LONGEST_GRACE_S, "--grace")
    if dicom_rate is not None:
        check_range(dicom_rate, *RATES, "--dicom-rate")
    kinds = tuple(dict.fromkeys(objects.replace(" ", "").split(","))) if objects else ()
    if listen is not None and not send:
        raise UsageError("needs a peer", where="--listen", do="add --send PEER")
    if send and not kinds:
        kinds = OBJECTS
    if kinds:
        from darnet_trt.runtime.delivery.objects.make import need_highdicom

        check_kinds(kinds)
        need_highdicom()
    tls = tls_of(tls_cert, tls_key, tls_clients)
    quiet_s, peers = peers_of(settle or (), dicom_peer or (), dicom_plain or ())
    if dicom_peers is not None:
        peers = (*peers, *read_peers(dicom_peers))
    doors: dict[str, Any] = {"http": None, "dicom": None}
    if (at := address_of(http, "--http")) is not None:
        doors["http"] = HttpSettings(host=at[0], port=at[1], tls=tls, token=token_of(token_file))
    if (at := address_of(dicom, "--dicom")) is not None:
        title = parse_title(ae or OUR_TITLE, "--ae")
        doors["dicom"] = DicomSettings(
            host=at[0], port=at[1], tls=tls, ae=title, peers=peers, slices_per_s=dicom_rate
        )
    if not any(doors.values()):
        raise UsageError("both doors are off", where="--http", do="open one of them")
    limits: dict[str, Any] = {} if quiet_s is None else quiet(quiet_s)
    settings = Settings(
        bundle,
        state,
        artifact=artifact,
        threads=threads,
        workers=workers,
        memory=None if memory is None else size_of(memory, "--memory"),
        objects=kinds,
        send=tuple(as_given(send, ae, listen)[0]) if send else (),
        commit_port=listen,
        identifiers=identifiers,
        keep_s=None if keep is None else seconds_of(keep, "--keep"),
        least_free=size_of(least_free, "--least-free"),
        grace_s=grace,
        **doors,
        **limits,
    )
    if not run(settings):
        raise typer.Exit(1)
