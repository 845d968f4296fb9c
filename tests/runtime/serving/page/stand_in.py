"""A service that gives stored answers, so that the page can be seen in every state at will."""

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from darnet_trt.runtime.serving.page.routes import make_router
from darnet_trt.runtime.serving.views import StudyView


def view(number=0, results=(), **changes):
    """A study that is done, received `number` seconds after midnight."""
    at = f"2026-11-29T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
    fields = {
        "id": f"{number:032x}", "state": "done", "received": 30, "first": at, "last": at,
        "ahead": None, "wait_s": None, "results": results, "used": 0, "left_out": 0, "refused": 0,
        "error": "", **changes,
    }  # fmt: skip
    return StudyView(**fields).model_dump(mode="json", by_alias=True)


class StandIn:
    """What the service answers; `tell` sends an event to every page."""

    def __init__(self):
        self.views = {}
        self.evidence = {}
        self.peers = []
        self.token = None
        self.ready = (200, {})
        self.uploads = []
        self.answers = []  # of the next uploads: status, body, headers
        self.asked = []
        self.listing = threading.Event()  # cleared: a list that is asked for waits
        self.listing.set()
        self._listeners = []

    def tell(self, shown):
        self.views[shown["id"]] = shown
        for loop, queue in list(self._listeners):
            loop.call_soon_threadsafe(queue.put_nowait, shown)

    def hang_up(self):
        """End every stream of events."""
        for loop, queue in list(self._listeners):
            loop.call_soon_threadsafe(queue.put_nowait, None)

    async def events(self):
        mine = (asyncio.get_running_loop(), asyncio.Queue())
        self._listeners.append(mine)
        try:
            yield ": hello\n\n"
            while (shown := await mine[1].get()) is not None:
                yield f"event: study\ndata: {json.dumps(shown)}\n\n"
        finally:
            self._listeners.remove(mine)

    def app(self):
        app = FastAPI()
        app.include_router(make_router())

        @app.middleware("http")
        async def only_with_token(request: Request, go_on):
            self.asked.append(request.url.path)
            told = request.headers.get("authorization")
            if self.token and request.url.path.startswith("/v1") and told != f"Bearer {self.token}":
                return JSONResponse({"error": "a token is needed"}, 401)
            return await go_on(request)

        @app.get("/v2/health/ready")
        def ready():
            return JSONResponse(self.ready[1], self.ready[0])

        @app.get("/v1/scans")
        def scans(limit: int = 50, before: str = ""):
            ordered = sorted(self.views.values(), key=lambda each: each["first"], reverse=True)
            older = [v for v in ordered if not before or v["first"] < self.views[before]["first"]]
            assert self.listing.wait(60)
            return {"scans": older[:limit]}

        @app.get("/v1/events")
        def events():
            return StreamingResponse(self.events(), media_type="text/event-stream")

        @app.get("/v1/service")
        def about():
            return {"artifact": "openvino-int8", "trained_on": "3 <b>phantoms</b>"}

        @app.get("/v1/deliveries")
        def deliveries():
            return {"peers": self.peers}

        @app.post("/v1/scans")
        async def upload(request: Request):
            self.uploads.append((dict(request.headers), await request.body()))
            status, body, headers = self.answers.pop(0)
            for shown in body.get("scans", ()):
                self.views.setdefault(shown["id"], shown)
            return JSONResponse(body, status, headers)

        @app.get("/v1/scans/{name}")
        def scan(name: str):
            if name not in self.views:
                return JSONResponse({"error": f"there is no study {name}"}, 404)
            return self.views[name]

        @app.get("/v1/scans/{name}/evidence")
        def evidence(name: str):
            if name not in self.evidence:
                return JSONResponse({"error": "there is no evidence"}, 404)
            return Response(self.evidence[name], media_type="application/octet-stream")

        @app.get("/v1/scans/{name}/instances")
        def instances(name: str):
            return {"instances": [
                {"sop_uid": "1.2.3", "fate": "used", "why": "", "result": "k"},
                {"sop_uid": "1.2.4", "fate": "refused", "why": "no CT", "result": "k"},
            ]}  # fmt: skip

        @app.get("/v1/scans/{name}/objects/{kind}")
        def objects(name: str, kind: str):
            return Response(b"DICM " + kind.encode(), media_type="application/dicom")

        return app


@contextmanager
def serving(app):
    """Serve on a free port of loopback; give the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
