"""What the service shows of a study; the HTTP door gives it as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from darnet_trt.runtime.prediction.results.result import Result

State = Literal["receiving", "queued", "running", "done"]
"""receiving: more may come; queued: complete, it waits for its turn; running: it is being read or
classified; done: its results stand for all that was received."""

Fate = Literal["used", "left out", "refused"]
"""used: the result was made from it; left out: not needed; refused: it cannot be used."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class InstanceView(_View):
    """What became of a file that was received."""

    sop_uid: str
    """SOPInstanceUID (0008,0018); empty for other formats than DICOM."""
    fate: Fate
    """What became of it."""
    why: str
    """Why it was left out or refused; empty where it was used."""
    result: str
    """Key of the standing result that counts it."""


class StudyView(_View):
    """A study, or a volume file, that was received."""

    id: str
    """Its name in the addresses of the service: 32 hexadecimal digits."""
    state: State
    """What is being done with it."""
    received: int
    """Files that were received."""
    first: str
    """When its first file came: UTC, ISO 8601."""
    last: str
    """When its last file came."""
    ahead: int | None
    """Studies that are classified before it; null unless it is queued."""
    wait_s: float | None
    """Seconds until it is complete, or estimated until its result; null where it is done."""
    results: tuple[Result, ...]
    """Its standing results: one, or one a patient; empty before the first."""
    used: int
    """Files that they were made from."""
    left_out: int
    """Files that were readable and not needed."""
    refused: int
    """Files that cannot be used."""
    error: str
    """Why it is tried again; empty where nothing is wrong."""


class DeliveryView(_View):
    """How far the deliveries to a receiver are."""

    peer: str
    """Its address, as it was given to the service."""
    objects: dict[str, int]
    """State → how many objects are in it."""
    awaited: int
    """Objects that it was asked to commit, and has not."""
    next_s: float | None
    """Seconds until the next try; null where nothing waits."""
    why: str
    """Why objects wait or were refused, as it said; empty where none were."""
