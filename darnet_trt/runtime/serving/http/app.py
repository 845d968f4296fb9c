"""Put the routes of the HTTP door together."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders

from darnet_trt import __version__
from darnet_trt.runtime.serving.http import errors, stow, v2
from darnet_trt.runtime.serving.http.openapi import Description
from darnet_trt.runtime.serving.http.security import Guard
from darnet_trt.runtime.serving.http.tensors import InferBody
from darnet_trt.runtime.serving.http.v1 import scans
from darnet_trt.runtime.serving.http.v1.uploads import Threads
from darnet_trt.runtime.serving.page.routes import make_router as make_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from darnet_trt.runtime.serving.service import Service

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def make_app(service: Service) -> FastAPI:
    """Return the application.

    Its `state.ending` is to be set when the service ends, and its loop must run until
    `state.uploads` are not busy.
    """
    limits = service.settings.http
    assert limits is not None

    app = FastAPI(
        title="darnet-trt",
        version=__version__,
        description="Classifies chest CT. Research use only. Not a medical device.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.ending = asyncio.Event()
    app.state.uploads = Threads(service.metrics)
    described = Description(app, InferBody, errors.Error)
    app.openapi = described  # type: ignore[method-assign]
    errors.register(app, described.methods)
    app.include_router(v2.make_router(service))
    app.include_router(scans.make_router(service, app.state.uploads))
    app.include_router(stow.make_router(service, app.state.uploads))
    app.include_router(scans.metrics_router(service))
    app.include_router(make_page())
    app.add_middleware(Guard, settings=limits)
    app.add_middleware(_Counted, service=service)
    return app


class _Counted:
    """Counts requests, by their routes' templates; keeps answers out of caches."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._metrics = app, service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")  # it may be of a patient
                headers.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(method, route, status, time.monotonic() - began)
