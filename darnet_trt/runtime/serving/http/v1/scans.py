"""Take scans, and show studies, their results and what is on its way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from darnet_trt.errors import BusyError, DarnetError
from darnet_trt.runtime.prediction.results.result import Evidence
from darnet_trt.runtime.serving.http.bodies import Body
from darnet_trt.runtime.serving.http.errors import check_started, documented
from darnet_trt.runtime.serving.http.tensors import NAME
from darnet_trt.runtime.serving.http.v1.events import changes_of, events
from darnet_trt.runtime.serving.http.v1.idempotency import LONGEST_KEY, Record, Records
from darnet_trt.runtime.serving.http.v1.uploads import (
    Threads,
    Upload,
    digest_upload,
    keep_upload,
)
from darnet_trt.runtime.serving.network.budget import Budget
from darnet_trt.runtime.serving.telemetry.metrics import CONTENT_TYPE
from darnet_trt.runtime.serving.views import DeliveryView, InstanceView, StudyView

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.service import Service

LONGEST_WAIT_S: Final = 300.0
"""How long an answer may be held back until results are there."""
_LOOK_S: Final = 5.0  # how often a study is looked at while nothing is heard of it
_AN_ID: Final = "0123456789abcdef0123456789abcdef"


class Refused(BaseModel):
    """A file of an upload that cannot be used."""

    name: str
    """Its name in the upload."""
    why: str
    """Why."""


class Scans(BaseModel):
    """What became of an upload."""

    scans: list[StudyView]
    """The studies that its files belong to."""
    known: int
    """Files that had come before."""
    ignored: dict[str, int]
    """Kind → how many of its files hold no scan."""
    refused: list[Refused]
    """Files that cannot be used."""


class StudyList(BaseModel):
    """Studies."""

    scans: list[StudyView]
    """Those that changed last first."""


class InstanceList(BaseModel):
    """What became of a study's files."""

    instances: list[InstanceView]
    """Each."""


class Deliveries(BaseModel):
    """What is on its way."""

    peers: list[DeliveryView]
    """By receiver."""


class ServiceView(BaseModel):
    """What this service is."""

    ready: bool
    """Whether it takes work."""
    why_not_ready: str
    """Why it does not; empty where it does."""
    model: str
    """The model's name for the Open Inference Protocol."""
    classes: list[str]
    """What it tells apart, in the order of the logits."""
    artifact: str
    """Its engine's name in the bundle."""
    trained_on: str
    """The data that the network was trained on."""
    intended_use: str
    """The use that its results are meant for."""


class Reloaded(BaseModel):
    """What is served after a reload."""

    created: str
    """When its bundle was built: UTC, ISO 8601."""
    artifact: str
    """Its engine's name."""


Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$", examples=[_AN_ID], description="The study.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A text of your own for this request: sent again with it, it is served once.",
        examples=["5a1f6f0e-upload-17"],
        json_schema_extra={"maxLength": LONGEST_KEY},
    ),
]
_BYTES: Final = {"type": "string", "format": "binary"}
_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A DICOM file or a zip archive of them, a NIfTI, NRRD or MHA file; or a "
        "form with any number of these.",
        "content": {
            "application/octet-stream": {"schema": _BYTES},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": _BYTES}},
                    "required": ["file"],
                }
            },
        },
    }
}


def _file_of(media_type: str) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of an answer that is a file."""
    found = {"description": "The file.", "content": {media_type: {"schema": _BYTES}}}
    return {200: found, **documented(404)}


def make_router(service: Service, threads: Threads) -> APIRouter:
    """Return the routes of scans."""
    limits = service.settings.http
    assert limits is not None
    budget = Budget(service.settings.volume_bytes)
    keep_s = min(limits.remember_s, service.settings.keep_s or limits.remember_s)
    records = Records(service.settings.state / "requests", keep_s)

    router = APIRouter(
        prefix="/v1", tags=["Scans"], dependencies=[Depends(lambda: check_started(service))]
    )

    def check_known(study: Id) -> None:
        if service.studies.view(study) is None:
            raise HTTPException(404, "there is no study of this name")

    known = [Depends(check_known)]

    @router.post(
        "/scans",
        status_code=202,
        responses={
            200: {"model": Scans, "description": "All is known, and has its results."},
            **documented(409, 415, 422, 429),
        },
        openapi_extra=_UPLOAD,
    )
    async def upload(
        request: Request,
        response: Response,
        key: Key = None,
        wait: Annotated[
            float,
            Query(
                ge=0,
                le=LONGEST_WAIT_S,
                description="Most seconds that the answer is held back until results are there.",
                examples=[30],
            ),
        ] = 0.0,
    ) -> Scans:
        """Take a scan; it is on the disk when this answers, and is classified later."""
        body = Body(request, limits.upload, limits.slowest)
        if key is None:
            record = await take(request, body)
        else:
            with records.begun(key) as file:
                record = await take_once(request, body, file)
        views = await wait_for(request, record.studies, wait)
        if views and all(view.state == "done" for view in views):
            response.status_code = 200
        refused = [Refused(name=name, why=why) for name, why in record.refused]
        return Scans(scans=views, known=record.known, ignored=record.ignored, refused=refused)

    async def take(request: Request, body: Body) -> Record:
        kind = request.headers.get("content-type", "")
        pieces = body.in_thread(asyncio.get_running_loop())
        return await threads.run(lambda: keep(keep_upload(
            service.store, pieces, kind, limits.files, budget)))  # fmt: skip

    def keep(kept: Upload) -> Record:
        studies = [*dict.fromkeys(each.study for each in kept.received)]
        for study in studies:
            service.studies.whole(study)
        return Record(
            digest=kept.digest,
            studies=studies,
            known=sum(each.outcome == "known" for each in kept.received),
            ignored=dict(kept.ignored),
            refused=kept.refused,
        )

    async def take_once(request: Request, body: Body, file: FilePath) -> Record:
        record = await asyncio.to_thread(records.read, file)
        if record is None:
            record = await take(request, body)
            await asyncio.to_thread(records.write, file, record)
            return record
        kind = request.headers.get("content-type", "")
        pieces = body.in_thread(asyncio.get_running_loop())
        if await threads.run(lambda: digest_upload(pieces, kind)) != record.digest:
            raise HTTPException(422, "another upload had this Idempotency-Key: use a new one")
        return record

    async def wait_for(request: Request, studies: list[str], seconds: float) -> list[StudyView]:
        """Return studies as they are when all are done, or after a time."""
        ending: asyncio.Event = request.app.state.ending
        until = time.monotonic() + seconds
        with changes_of(service.studies) as changes:
            while True:
                found = await asyncio.to_thread(lambda: [*map(service.studies.view, studies)])
                views = [view for view in found if view is not None]
                left_s = until - time.monotonic()
                if left_s <= 0 or ending.is_set() or all(view.state == "done" for view in views):
                    return views
                if await request.is_disconnected():
                    raise ClientDisconnect
                await changes.take(ending, min(left_s, _LOOK_S))

    @router.get("/scans", responses=documented())
    def studies(
        limit: Annotated[int, Query(ge=1, le=200, description="Most studies.")] = 50,
        before: Annotated[
            str,
            Query(
                pattern="^([0-9a-f]{32})?$",
                description="The last study of the list before.",
                examples=[_AN_ID],
            ),
        ] = "",
    ) -> StudyList:
        """List studies, those that changed last first."""
        return StudyList(scans=[*service.studies.list(limit, before)])

    @router.get("/scans/{study}", responses=documented(404))
    def study_view(study: Id) -> StudyView:
        """Show a study and its results."""
        view = service.studies.view(study)
        if view is None:
            raise HTTPException(404, "there is no study of this name")
        return view

    @router.get("/scans/{study}/instances", responses=documented(404), dependencies=known)
    def instances(study: Id) -> InstanceList:
        """Say of each file that standing results count what became of it."""
        return InstanceList(instances=[*service.studies.instances(study)])

    @router.get(
        "/scans/{study}/objects/{kind}",
        response_class=Response,
        responses=_file_of("application/dicom"),
        dependencies=known,
    )
    def dicom_object(study: Id, kind: Literal["sr", "pm", "sc", "refusal"]) -> Response:
        """Give a DICOM object of a result: report, map, picture, or the report of a refusal."""
        return _file(service.studies.object(study, kind), "application/dicom", f"no {kind}")

    @router.get(
        "/scans/{study}/overlay.png",
        response_class=Response,
        responses=_file_of("image/png"),
        dependencies=known,
    )
    def overlay(study: Id) -> Response:
        """Give a picture of the class activation map over slices."""
        return _file(service.studies.overlay(study), "image/png", "no overlay")

    @router.get(
        "/scans/{study}/evidence",
        response_class=Response,
        responses=_file_of("application/octet-stream"),
        dependencies=known,
    )
    def evidence(study: Id) -> Response:
        """Give what the page draws: a line of JSON, the input in 8 bits, and the map in float16."""
        found = service.studies.evidence(study)
        content = None if found is None else packed(found, service.manifest.classes)
        return _file(content, "application/octet-stream", "no evidence")

    @router.get(
        "/scans/{study}/events",
        response_class=EventSourceResponse,
        responses=documented(404),
        dependencies=known,
    )
    async def study_events(request: Request, study: Id) -> AsyncIterator[ServerSentEvent]:
        """Tell whenever a study changes; how it is now comes first."""
        async for event in events(service.studies, request.app.state.ending, study):
            yield event

    @router.get("/events", response_class=EventSourceResponse, responses=documented())
    async def all_events(request: Request) -> AsyncIterator[ServerSentEvent]:
        """Tell whenever any study changes."""
        async for event in events(service.studies, request.app.state.ending):
            yield event

    @router.get("/deliveries", responses=documented())
    def deliveries() -> Deliveries:
        """Say how far the deliveries to each receiver are."""
        return Deliveries(peers=[*service.deliveries()])

    @router.get("/service", responses=documented())
    def about() -> ServiceView:
        """Say what this service is."""
        manifest = service.manifest
        return ServiceView(
            ready=service.ready and not service.store.trouble,
            why_not_ready=service.why_not_ready or service.store.trouble,
            model=NAME,
            classes=[*manifest.classes],
            artifact=service.artifact.name,
            trained_on=manifest.model.trained_on,
            intended_use=manifest.intended_use,
        )

    @router.post("/reload", responses=documented(409, 429))
    def reload() -> Reloaded:
        """Serve the bundle that is now at its path; 409 where it cannot be, and the old one is."""
        try:
            service.reload()
        except BusyError:
            raise
        except DarnetError as error:
            raise HTTPException(409, f"the old bundle is kept: {error}") from None
        return Reloaded(created=service.manifest.created, artifact=service.artifact.name)

    return router


def metrics_router(service: Service) -> APIRouter:
    """Return the route of the metrics."""
    router = APIRouter(tags=["Metrics"])
    text = {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}}

    @router.get("/metrics", response_class=Response, responses={200: text, **documented()})
    def metrics() -> Response:
        """Give figures for Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return router


def _file(content: bytes | None, media_type: str, missing: str) -> Response:
    if content is None:
        return JSONResponse({"error": f"the study has {missing}"}, 404)
    return Response(content, media_type=media_type)


def packed(evidence: Evidence, classes: Sequence[str]) -> bytes:
    """Return what the page draws: a line of JSON, the input in 8 bits, and the map in float16."""
    head = {
        "shape": evidence.volume.shape,
        "cam_shape": evidence.cam.shape,
        "classes": classes,
        "oriented": evidence.oriented,
    }
    grey = np.rint(255 * evidence.volume.clip(0, 1)).astype(np.uint8)
    cam = evidence.cam.astype("<f2")
    return b"".join((json.dumps(head).encode(), b"\n", grey.tobytes(), cam.tobytes()))
