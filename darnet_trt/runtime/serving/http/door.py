"""Open the HTTP door: uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from darnet_trt.runtime.serving.http.security import check_exposure
from darnet_trt.runtime.serving.network.addresses import listen
from darnet_trt.runtime.serving.network.tls import server_context

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.service import Service
    from darnet_trt.runtime.serving.settings import HttpSettings

_WAITING: Final = 1024  # connections that the system holds until they are accepted


class HttpDoor:
    """Serves HTTP.

    Args:
        settings: Of the door.
        service: What it leads to.

    Attributes:
        port: That it listens on, from `start` on.

    Raises:
        UsageError: It would be open to the network, or its certificates cannot be used.
    """

    def __init__(self, settings: HttpSettings, service: Service) -> None:
        import uvicorn
        import uvloop

        from darnet_trt.runtime.serving.http.app import make_app
        from darnet_trt.runtime.serving.http.protocol import SILENCE_S, limited

        check_exposure(settings)
        context = None if settings.tls is None else server_context(settings.tls)
        self._settings = settings
        self._app = make_app(service)
        config = uvicorn.Config(
            self._app,
            http=limited(settings.connections),
            ws="none",
            lifespan="off",
            timeout_keep_alive=SILENCE_S,
            access_log=False,  # a path may hold a UID
            log_config=None,
            log_level=logging.CRITICAL,  # `errors` logs what is unexpected
            server_header=False,
            ssl_context_factory=None if context is None else lambda config, default: context,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)
        self._loop = uvloop.new_event_loop()
        self._ends = False
        self.port = settings.port

    def start(self) -> None:
        """Listen, and serve from now on.

        Raises:
            UsageError: The address cannot be listened on.
        """
        self._socket = listen(self._settings.host, self._settings.port, _WAITING, "--http")
        self.port = self._socket.getsockname()[1]
        self._thread.start()
        while not self._server.started and self.alive:
            time.sleep(0.005)

    @property
    def alive(self) -> bool:
        """Return whether it serves."""
        return self._thread.is_alive()

    def drain(self, until: float) -> bool:
        """Take no more connections, and finish the requests under way; return whether all are.

        Args:
            until: When to stop waiting, by `time.monotonic`.
        """
        self._end()
        self._thread.join(max(until - time.monotonic(), 0.0))
        return not self.alive

    def close(self) -> None:
        """End now."""
        self._server.force_exit = True
        if self._thread.ident is None:
            self._loop.close()
        else:
            self._end()
            self._thread.join()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())

    async def _run(self) -> None:
        await self._server.serve(sockets=[self._socket])
        own = asyncio.current_task()
        while self._app.state.uploads.busy:  # their threads ask this loop for more
            for task in asyncio.all_tasks():
                if task is not own:
                    task.cancel()
            await asyncio.sleep(0.01)

    def _end(self) -> None:
        """Ask the loop to end, once: a loop that is just being closed must not be touched."""
        if not self._ends:
            self._ends = True
            self._loop.call_soon_threadsafe(self._end_there)

    def _end_there(self) -> None:
        self._app.state.ending.set()
        self._server.should_exit = True
