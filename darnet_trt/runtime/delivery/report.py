"""Say how far the deliveries to a peer are: "PACS@10.0.0.5:104: 12 sent, 1 refused (…)"."""

from __future__ import annotations

import time

from darnet_trt.runtime.delivery.queue import Tally


def line(peer: str, tally: Tally) -> str:
    """Return the line of a peer.

    Args:
        peer: Its address.
        tally: How far it is.
    """
    said = [f"{tally.now[state]} {state}" for state in ("sent", "committed") if tally.now[state]]
    if tally.all["refused"]:
        said.append(f"{tally.all['refused']} refused ({tally.why_refused})")
    if tally.all["waiting"]:
        when = time.strftime("%H:%M", time.localtime(tally.next_s))
        why = f" ({tally.why_waiting})" if tally.why_waiting else ""
        said.append(f"{tally.all['waiting']} to be tried again from {when} on{why}")
    if tally.awaited:
        said.append(f"{tally.awaited} not yet committed")
    return f"{peer}: {', '.join(said) or 'nothing left to send'}"


def undelivered(tally: Tally, *, commits: bool) -> bool:
    """Return whether something was refused, or is not yet where it shall be.

    Args:
        tally: How far a peer's deliveries are.
        commits: Whether peers were asked to commit.
    """
    left = tally.all["refused"] or tally.all["waiting"] or (commits and tally.awaited)
    return bool(left)
