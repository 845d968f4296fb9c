"""`darnet-trt deliver`: bring the DICOM objects of results to their receivers."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from darnet_trt.cli import printing
from darnet_trt.cli.printing import print_line, warn

if TYPE_CHECKING:
    from darnet_trt.runtime.delivery.deliver import Ours

Ae = Annotated[
    str | None,
    typer.Option(
        "--ae",
        metavar="TITLE",
        help="Our application entity title, by which peers know us. [default: DARNET-TRT]",
    ),
]
Listen = Annotated[
    int | None,
    typer.Option(
        "--listen",
        min=1,
        max=65535,
        metavar="PORT",
        help="Ask peers of the form AE@host:port to commit what they stored (storage commitment), "
        "and take their answers on this port. [default: they are not asked]",
    ),
]


def as_given(send: Sequence[str], ae: str | None, listen: int | None) -> tuple[list[str], Ours]:
    """Return the peers' addresses, each in one form, and how we appear to them.

    Args:
        send: The addresses as `--send` gives them.
        ae: `--ae`.
        listen: `--listen`.

    Raises:
        UsageError: One of `send` is no address, or `ae` is no application entity title.
        MissingPackageError: A package that sending needs is not installed.
    """
    from darnet_trt.runtime.delivery.deliver import OUR_TITLE, Ours, need_packages
    from darnet_trt.runtime.delivery.peers.address import parse_address, parse_title

    need_packages()
    peers = [str(parse_address(each)) for each in send]
    return peers, Ours(parse_title(OUR_TITLE if ae is None else ae, "--ae"), listen)


def deliver(
    folder: Annotated[
        Path, typer.Argument(help="Folder that predict wrote with --dicom.", show_default=False)
    ],
    send: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PEER",
            help="Send to this peer, too, from now on: AE@host:port, or the https:// address of a "
            "DICOMweb service. May be given again. [default: those named before]",
        ),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PEER",
            help="Send no more to this peer, and forget what it got. May be given again. [default: "
            "none is forgotten]",
        ),
    ] = None,
    ae: Ae = None,
    listen: Listen = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="For so long, try again what is to be tried again, and wait for peers to commit.",
        ),
    ] = 0.0,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Try at once all that was not sent, also what a peer refused. [default: what was "
            "refused is left alone, the rest is tried when its pause is over]",
        ),
    ] = False,
) -> None:
    """Send the DICOM objects of a result folder to their peers: each is tried once.

    A queue in the folder keeps what was sent, committed or refused, and what is to be tried again,
    after pauses that grow from 10 seconds to an hour; so cron can call this every few minutes. Exit
    code 0: all is delivered; 1: something was refused, or is to be tried again; 2: the run could
    not start or go on. With -q (for cron) a run that leaves nothing undone prints nothing.
    """
    from darnet_trt.errors import UsageError, no_such_path
    from darnet_trt.machine.files import sole_writer
    from darnet_trt.runtime.delivery.deliver import Delivery, add_peers, fill_from
    from darnet_trt.runtime.delivery.peers.address import parse_address
    from darnet_trt.runtime.delivery.queue import QUEUE, Queue
    from darnet_trt.runtime.delivery.report import line, undelivered
    from darnet_trt.runtime.prediction.results.lines import JSONL

    if not folder.is_dir():
        raise no_such_path(folder)
    peers, ours = as_given(send or (), ae, listen)
    gone = [str(parse_address(each, "--forget")) for each in forget or ()]
    no_peers = UsageError("has no peers yet", where=folder, do="name one: --send AE@host:port")
    with sole_writer(folder):
        if not (folder / JSONL).is_file():
            raise UsageError("holds no results", where=folder, do="name a folder of predict -o")
        if not peers and not os.path.lexists(folder / QUEUE):
            raise no_peers
        with Queue(folder, warn) as queue:
            for peer in gone:
                queue.drop_peer(peer)
            add_peers(queue, peers)
            if not queue.peers():
                if gone:
                    return
                raise no_peers
            fill_from(queue)
            if retry:
                queue.retry()
            with Delivery(queue, ours, warn) as delivery:
                delivery.finish(time.time() + wait)
            if delivery.failure is not None:
                raise delivery.failure
            tallies = {peer: queue.tally(peer) for peer in queue.peers()}
    if not any(tally.all for tally in tallies.values()):
        raise UsageError(
            "no result has DICOM objects",
            where=folder,
            do="make them: predict --resume --dicom sr,pm,sc",
        )
    commits = listen is not None
    left = [peer for peer, tally in tallies.items() if undelivered(tally, commits=commits)]
    for peer, tally in tallies.items():
        if not printing.quiet:
            print_line(line(peer, tally))
        elif peer in left:
            warn(line(peer, tally))
    if left:
        raise typer.Exit(1)
