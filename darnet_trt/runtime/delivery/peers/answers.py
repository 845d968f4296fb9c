"""What peers answer to an object, and which answers will not change.

An object is `sent` when its peer said that it stored it, with a warning or without. It is `refused`
when the peer named a reason that lies in the object, so that the same object will always meet it.
After every other answer, and after none, it is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from darnet_trt.errors import one_line

State = Literal["waiting", "sent", "committed", "refused"]

_LONGEST: Final = 300  # characters of what a peer says

# fmt: off
_NAMES: Final = {
    0x0001: "elements coerced",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "it had this object already",
    0x0112: "no such object",
    0x0116: "attribute value out of range",
    0x0117: "invalid object instance",
    0x0119: "class and instance do not fit",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0131: "duplicate transaction",
    0x0210: "duplicate invocation",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xB000: "elements coerced",
    0xB006: "elements discarded",
    0xB007: "data set does not match its SOP class",
    0xC122: "transfer syntax not supported",
    0xFE00: "cancelled",
}
# fmt: on
_FOR_GOOD: Final = frozenset({0x0117, 0x0119, 0x0122, 0x0211, 0x0212})


@dataclass(frozen=True)
class Sendable:
    """An object that is to be sent.

    Attributes:
        sop_class: Its SOPClassUID (0008,0016).
        sop_uid: Its SOPInstanceUID (0008,0018).
        path: Its file.
    """

    sop_class: str
    sop_uid: str
    path: Path


@dataclass(frozen=True)
class Answer:
    """What became of one object.

    Attributes:
        sop_uid: Its SOPInstanceUID.
        state: What it is now; "waiting": it is tried again.
        words: What the peer said, or what went wrong; empty where there is nothing to say.
    """

    sop_uid: str
    state: State
    words: str = ""


class PeerFailure(Exception):  # noqa: N818 (no defect: peers are down at times)
    """A peer cannot be talked to now; what it has not answered is tried again.

    Args:
        words: What happened, one clause.
    """


def answer_to_store(sop_uid: str, status: int, comment: str = "") -> Answer:
    """Return what a status of C-STORE, or a reason of STOW-RS, means for an object.

    Source: PS3.4 B.2.3, PS3.7 Annex C, PS3.18 Annex I. "Out of resources" (A7xx), "processing
    failure", "not authorized" and "resource limitation" speak of the peer, and are tried again;
    so is every status that the standard does not name. "Duplicate SOP instance" counts as sent:
    our instance UIDs are made of what the objects say, so it is this object that the peer has.

    Args:
        sop_uid: The object.
        status: Of 16 bits.
        comment: The peer's own text.
    """
    words = in_words(status, comment)
    group = status >> 8
    if status == 0:
        return Answer(sop_uid, "sent")
    if group >> 4 == 0xB or status in (0x0001, 0x0107, 0x0111, 0x0116):
        return Answer(sop_uid, "sent", words)
    if group == 0xA9 or group >> 4 == 0xC or status in _FOR_GOOD:
        return Answer(sop_uid, "refused", words)
    return Answer(sop_uid, "waiting", words)


def answer_to_commit(sop_uid: str, reason: int) -> Answer:
    """Return what a reason in a storage commitment's failed sequence means for an object.

    Source: PS3.3 C.14.1.1. Where the peer does not commit objects of that kind at all, sending it
    again would change nothing.
    """
    words = f"stored, but not committed: {in_words(reason)}"
    return Answer(sop_uid, "refused" if reason in _FOR_GOOD else "waiting", words)


def in_words(status: int, comment: str = "") -> str:
    """Return a status in words, with its number: "out of resources (A700): disk is full"."""
    name = _NAMES.get(status)
    if name is None:
        ranges = {0xA7: "out of resources", 0xA9: "data set does not match its SOP class"}
        name = ranges.get(status >> 8) or {0xC: "cannot understand it", 0xB: "warning"}.get(
            status >> 12, "status"
        )
    said = f": {quoted(comment)}" if comment else ""
    return f"{name} ({status:04X}){said}"


def quoted(text: Any) -> str:
    """Return a peer's text on one line of bearable length."""
    line = one_line(str(text))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
