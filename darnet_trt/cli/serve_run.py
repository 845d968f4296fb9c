"""Run the service in the foreground, and obey signals."""

from __future__ import annotations

import logging
import signal
import sys
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Literal

from darnet_trt.cli.printing import say, warn
from darnet_trt.cli.signals import Handlers, handled
from darnet_trt.errors import DarnetError
from darnet_trt.runtime.prediction.results.result import INTENDED_USE
from darnet_trt.runtime.serving.service import Service
from darnet_trt.runtime.serving.settings import Settings

_ENDING: Final = ("SIGINT", "SIGTERM")
_RELOADING: Final = ("SIGHUP",)


_Asked = Literal["end", "reload"]
_LOOK_S: Final = 0.5


def run(settings: Settings) -> bool:
    """Serve until SIGTERM or Ctrl-C; return whether all that was taken is done.

    A second such signal ends it at once. SIGHUP loads the bundle again.

    Raises:
        DarnetError: It cannot start.
    """
    for level in (logging.WARNING, logging.ERROR):  # as all that a command says
        logging.addLevelName(level, logging.getLevelName(level).lower())
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s"
    )
    asked: SimpleQueue[_Asked] = SimpleQueue()

    def end(number: int, before: Handlers) -> None:
        for again, handler in before.items():
            signal.signal(again, handler)  # a second one acts as usual
        asked.put("end")

    def reload(number: int, before: Handlers) -> None:
        asked.put("reload")

    service = Service(settings, warn)
    try:
        with handled(_RELOADING, reload):
            service.start()  # a signal that comes before it is ready ends it at once
            with handled(_ENDING, end):
                _tell(service)
                while _next(asked) == "reload":
                    _reload(service)
                say(f"ends within {settings.grace_s:g} s; a second signal ends it at once")
                done = service.drain(time.monotonic() + settings.grace_s)
    finally:
        service.close()
    say("all that was taken is done" if done else "what is left is taken up by the next start")
    return done


def _next(asked: SimpleQueue[_Asked]) -> _Asked:
    while True:
        # A signal just before the wait, or in another thread, is handled when the wait is over.
        with suppress(Empty):
            return asked.get(timeout=_LOOK_S)


def _tell(service: Service) -> None:
    model = service.manifest.model
    say(f"{service.artifact.name}, trained on {model.trained_on}. {INTENDED_USE}")
    http, dicom = service.settings.http, service.settings.dicom
    if http is not None and service.http is not None:
        scheme = "http" if http.tls is None else "https"
        say(f"HTTP: {scheme}://{_shown(http.host)}:{service.http.port}")
    if dicom is not None and service.dicom is not None:
        tls = "" if dicom.tls is None else " with TLS"
        say(f"DICOM: {dicom.ae}@{_shown(dicom.host)}:{service.dicom.port}{tls}")
    say("ready")


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reload(service: Service) -> None:
    try:
        service.reload()
    except DarnetError as error:
        warn(f"warning: the bundle was not loaded again, the old one stays: {error}")
    else:
        say(f"the bundle was loaded again: {service.artifact.name}")
