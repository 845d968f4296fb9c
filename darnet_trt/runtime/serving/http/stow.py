"""Take what a PACS sends by STOW-RS (PS3.18 section 10.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from darnet_trt.errors import BusyError, ScanError, UnreadableScanError, UsageError
from darnet_trt.runtime.serving.http.bodies import Body
from darnet_trt.runtime.serving.http.errors import check_started, documented
from darnet_trt.runtime.serving.http.multipart import media_type, parts
from darnet_trt.runtime.serving.http.v1.uploads import PEER, Threads, whole_file
from darnet_trt.runtime.serving.intake.instance import Instance, instance_of
from darnet_trt.runtime.serving.network.budget import Budget

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.intake.store import Store
    from darnet_trt.runtime.serving.service import Service
    from darnet_trt.runtime.serving.settings import HttpSettings

_JSON: Final = "application/dicom+json"
_NO_ROOM, _OTHER_STUDY, _NOT_UNDERSTOOD, _CONFLICT = 0xA700, 0xA900, 0xC000, 0x0111
"""FailureReason (0008,1197), as the statuses of C-STORE (PS3.4 table B.2-1, PS3.7 annex C)."""

Element = dict[str, Any]


@dataclass
class Stored:
    """What became of the instances of a request.

    Attributes:
        kept: Those that are on the disk.
        failed: Each other one; None where its UIDs cannot be read: with its failure's reason.
        busy: Why some found no room; None: all did.
    """

    kept: list[Instance] = field(default_factory=list)
    failed: list[tuple[Instance | None, int]] = field(default_factory=list)
    busy: BusyError | None = None

    @property
    def status(self) -> int:
        """Return the status of the answer: all, some or none were kept."""
        if not self.failed:
            return 200
        return 202 if self.kept else 409

    def dataset(self) -> dict[str, Element]:
        """Return the answer's data set (PS3.18 table 10.5.3-1) in the DICOM JSON model."""
        found: dict[str, Element] = {"00081190": {"vr": "UR"}}  # nothing is retrieved from here
        if self.failed:
            found["00081198"] = _sequence(
                {**_reference(instance), "00081197": {"vr": "US", "Value": [reason]}}
                for instance, reason in self.failed
            )
        if self.kept:
            found["00081199"] = _sequence(
                {**_reference(instance), "00081190": {"vr": "UR"}} for instance in self.kept
            )
        return found


def _reference(instance: Instance | None) -> dict[str, Element]:
    """Return SOP class and instance; empty where they cannot be read."""
    found: dict[str, Element] = {"00081150": {"vr": "UI"}, "00081155": {"vr": "UI"}}
    if instance is not None:
        found["00081155"]["Value"] = [instance.sop_uid]
        if instance.sop_class:
            found["00081150"]["Value"] = [instance.sop_class]
    return found


def _sequence(items: Iterator[dict[str, Element]]) -> Element:
    return {"vr": "SQ", "Value": [*items]}


def make_router(service: Service, threads: Threads) -> APIRouter:
    """Return the routes of STOW-RS."""
    limits = service.settings.http
    assert limits is not None
    budget = Budget(service.settings.volume_bytes)
    router = APIRouter(prefix="/dicomweb", tags=["DICOMweb"])
    answers: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {_JSON: {"schema": {"type": "object"}}}}
        for status, text in (
            (200, "All instances are on the disk."),
            (202, "Some are; the answer names the others."),
            (409, "None is; the answer says why."),
        )
    }
    described: dict[str, Any] = {
        "response_class": Response,
        "responses": {**documented(415, 429), **answers},
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "description": 'Parts of the type application/dicom; so type="application/dicom".',
                "content": {
                    "multipart/related": {"schema": {"type": "string", "format": "binary"}}
                },
            }
        },
    }

    @router.post("/studies", **described)
    async def store(request: Request) -> Response:
        """Store instances; they are on the disk when this answers."""
        return await take(request, "")

    described["responses"] = described["responses"] | documented(404)

    @router.post("/studies/{study_uid}", **described)
    async def store_of_study(
        request: Request,
        study_uid: Annotated[
            str,
            Path(pattern="^[0-9.]{1,64}$", examples=["1.2.840.1"], description="StudyInstanceUID."),
        ],
    ) -> Response:
        """Store instances of one study; those of others are refused."""
        return await take(request, study_uid)

    async def take(request: Request, study_uid: str) -> Response:
        check_started(service)
        kind, boundary = media_type(request.headers.get("content-type", ""))
        if kind != "multipart/related":
            raise HTTPException(415, 'send multipart/related; type="application/dicom"')
        body = Body(request, limits.upload, limits.slowest)
        pieces = body.in_thread(asyncio.get_running_loop())
        stored = await threads.run(
            lambda: keep_parts(service.store, pieces, boundary, study_uid, limits, budget)
        )
        if stored.busy is not None and not stored.kept:
            raise stored.busy
        return JSONResponse(stored.dataset(), stored.status, media_type=_JSON)

    return router


def keep_parts(
    store: Store,
    pieces: Iterator[bytes],
    boundary: bytes,
    study_uid: str,
    limits: HttpSettings,
    budget: Budget,
) -> Stored:
    """Keep each part of a body.

    Args:
        store: Where.
        pieces: The body.
        boundary: Between its parts.
        study_uid: Of the only study that is taken; empty: any.
        limits: Of the door.
        budget: For files that are held in memory.

    Raises:
        UsageError: It is malformed, or holds no parts, too many or others than DICOM.
        OutputError: The disk fails.
    """
    stored = Stored()
    for number, part in enumerate(parts(pieces, boundary)):
        if number == limits.files:
            raise UsageError(f"the request has more than {limits.files:,} parts")
        kind, _ = media_type(part.headers.get("content-type", "application/dicom"))
        if kind not in ("application/dicom", "application/octet-stream"):
            raise HTTPException(415, "a part is not of the type application/dicom")
        with whole_file(part.pieces, budget) as content:
            _keep(store, content, study_uid, stored)
    if not (stored.kept or stored.failed):
        raise UsageError("the request holds no instance")
    return stored


def _keep(store: Store, content: bytes, study_uid: str, stored: Stored) -> None:
    instance = None
    try:
        instance = instance_of(content)
        if study_uid and instance.study_uid != study_uid:
            stored.failed.append((instance, _OTHER_STUDY))
        elif store.receive(content, peer=PEER).outcome == "conflict":
            stored.failed.append((instance, _CONFLICT))
        else:
            stored.kept.append(instance)
    except UnreadableScanError:
        stored.failed.append((instance, _NOT_UNDERSTOOD))
    except ScanError:
        stored.failed.append((instance, _OTHER_STUDY))
    except BusyError as busy:
        stored.failed.append((instance, _NO_ROOM))
        stored.busy = busy
