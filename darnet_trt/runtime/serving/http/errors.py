"""Turn every error into an answer: a status and `{"error": "one clear line"}`."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from darnet_trt.errors import (
    BusyError,
    DarnetError,
    DeviceError,
    InternalError,
    OutputError,
    ScanError,
    UsageError,
    one_line,
)
from darnet_trt.runtime.serving.http.openapi import SCHEMAS
from darnet_trt.runtime.serving.intake.store import FULL_S

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.service import Service

_LOG = logging.getLogger(__name__)
TICKET: Final = "Darnet-Ticket"
_PLAIN: Final = {
    "Not Found": "there is nothing under this path: see /openapi.json",
    "Method Not Allowed": "this method does nothing under this path: see /openapi.json",
}
"""What Starlette says, in other words."""


class Error(BaseModel):
    """Why a request was not served."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"error": "the queue is full; try again in 1.2 s", "retry_after_s": 1.2},
                {"error": "the input's datatype is 'FP16', expected FP32"},
            ]
        }
    )
    error: str
    """What is wrong, and what to do: one line."""
    retry_after_s: float | None = None
    """Only with status 429: seconds after which there is a place."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of some statuses, and of those that every request may get."""
    everywhere = (400, 401, 403, 408, 413, 431, 503)
    content = {"application/json": {"schema": {"$ref": f"{SCHEMAS}{Error.__name__}"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({*everywhere, *statuses})
    }


def check_ready(service: Service) -> None:
    """Raise HTTPException (503) while the service's engine takes no work."""
    if not service.ready:
        text = f"the service is not ready: {service.why_not_ready}"
        raise HTTPException(503, text, {"Retry-After": "1"})


def check_room(service: Service) -> None:
    """Raise HTTPException (503) while no scan can be kept."""
    if trouble := service.store.trouble:
        raise HTTPException(503, f"scans are refused: {trouble}", {"Retry-After": f"{FULL_S:.0f}"})


def check_started(service: Service) -> None:
    """Raise HTTPException (503) until studies can be kept; their files wait for the engine."""
    if not service.started:
        check_ready(service)


def answer(error: Exception) -> JSONResponse:
    """Return the answer that tells a caller about an error."""
    match error:
        case BusyError():
            seconds = max(0.0, error.retry_after_s)
            headers = {"Retry-After": str(math.ceil(seconds))}
            if error.ticket:
                headers[TICKET] = error.ticket
            content = {"error": str(error), "retry_after_s": round(seconds, 3)}
            return JSONResponse(content, 429, headers)
        case HTTPException():
            text = _PLAIN.get(str(error.detail), one_line(str(error.detail)))
            return JSONResponse({"error": text}, error.status_code, error.headers)
        case RequestValidationError():
            fault = error.errors()[0]
            if fault["loc"][0] == "path":
                return answer(HTTPException(404))
            place = ".".join(str(part) for part in fault["loc"][1:])
            return JSONResponse({"error": one_line(f"{place}: {fault['msg']}")[:300]}, 400)
        case ClientDisconnect():
            return JSONResponse({"error": "the connection was lost"}, 400)  # nobody hears it
        case UsageError() | ScanError():
            status = 400
        case OutputError() | DeviceError() | OSError():
            status = 503
        case _:
            status = 500
    if status >= 500:
        _LOG.error("%s", error, exc_info=error)
    if isinstance(error, OSError):  # too many open files, a disk that fails
        error = OutputError(f"this machine fails ({error.strerror})", do="try again later")
    elif not isinstance(error, DarnetError):
        error = InternalError(error)
    return JSONResponse({"error": str(error)}, status)


def register(app: FastAPI, methods: Callable[[str], list[str]]) -> None:
    """Let an application answer every error so.

    Args:
        app: The application.
        methods: Returns the methods that do something under a path.
    """

    async def handle(request: Request, error: Exception) -> JSONResponse:
        answered = answer(error)
        if answered.status_code == 405 and (known := methods(request.url.path)):
            answered.headers["Allow"] = ", ".join(known)  # Starlette names the first route's alone
        return answered

    for kind in (
        DarnetError,
        HTTPException,
        RequestValidationError,
        ClientDisconnect,
        Exception,
    ):
        app.add_exception_handler(kind, handle)
