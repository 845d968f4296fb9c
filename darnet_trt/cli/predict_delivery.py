"""Send the DICOM objects of a run of `predict` while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from darnet_trt.cli import printing
from darnet_trt.cli.predict_output import Output
from darnet_trt.cli.printing import say, warn

if TYPE_CHECKING:
    from darnet_trt.runtime.delivery.deliver import Ours
    from darnet_trt.runtime.delivery.queue import Tally

LAST_S: Final = 30.0
"""Bounds how long the end of a run waits for what is being sent."""


@dataclass
class Sent:
    """Holds how far the deliveries of a run are when it has ended.

    Attributes:
        tallies: Peer → how far.
        commits: Whether peers were asked to commit.
        ended: Whether the queue could not be kept, and the deliveries ended early.
    """

    tallies: Mapping[str, Tally] = field(default_factory=dict)
    commits: bool = False
    ended: bool = False

    def tell(self) -> bool:
        """Say how far each peer's are; return whether something is left or was refused."""
        from darnet_trt.runtime.delivery.report import line, undelivered

        left = [undelivered(tally, commits=self.commits) for tally in self.tallies.values()]
        for is_left, (peer, tally) in zip(left, self.tallies.items(), strict=True):
            (warn if is_left and printing.quiet else say)(line(peer, tally))
        if any(tally.next_s is not None or tally.awaited for tally in self.tallies.values()):
            say("darnet-trt deliver goes on with the rest")
        return self.ended or any(left)


@contextmanager
def delivering(output: Output, peers: Sequence[str], ours: Ours | None) -> Iterator[Sent]:
    """Send what is added to the output, and what of its folder was not sent before.

    Args:
        output: Of the run, with a folder.
        peers: Addresses; none: nothing is sent.
        ours: How we appear to them.

    Raises:
        UsageError: Our port cannot be listened on.
        OutputError: The queue cannot be kept in the folder.
    """
    sent = Sent(commits=ours is not None and ours.port is not None)
    if ours is None or output.folder is None:
        yield sent
        return
    from darnet_trt.runtime.delivery.deliver import Delivery, add_peers, entries_of
    from darnet_trt.runtime.delivery.queue import Queue

    with Queue(output.folder.folder, warn) as queue:
        add_peers(queue, peers)
        queue.fill(each for result in output.folder.results() for each in entries_of(result))
        with Delivery(queue, ours, warn) as delivery:
            output.written = delivery.add
            yield sent
            delivery.finish(time.time(), LAST_S)
        sent.ended = delivery.failure is not None
        if not sent.ended:
            sent.tallies = {peer: queue.tally(peer) for peer in queue.peers()}
