"""Tell who listens what becomes of studies, by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fastapi.sse import ServerSentEvent

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.studies.studies import Studies
    from darnet_trt.runtime.serving.views import StudyView


class Changes:
    """The latest view of each study that changed, until somebody takes them.

    A listener that is slow misses steps and no study, and what waits for it is bounded.
    """

    def __init__(self) -> None:
        self._views: dict[str, StudyView] = {}
        self._some = asyncio.Event()

    def note(self, view: StudyView) -> None:
        """Note that a study changed; in the loop's thread."""
        self._views[view.id] = view
        self._some.set()

    async def take(self, ending: asyncio.Event, within_s: float | None = None) -> list[StudyView]:
        """Wait for changes and return them; none at the service's end, or after a time."""
        waits = [asyncio.ensure_future(each.wait()) for each in (self._some, ending)]
        try:
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        views, self._views = [*self._views.values()], {}
        self._some.clear()
        return views


@contextmanager
def changes_of(studies: Studies) -> Iterator[Changes]:
    """Collect changes from now on."""
    changes, loop = Changes(), asyncio.get_running_loop()

    def heard(view: StudyView) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(changes.note, view)

    stop = studies.watch(heard)
    try:
        yield changes
    finally:
        stop()


async def events(
    studies: Studies, ending: asyncio.Event, study: str | None = None
) -> AsyncIterator[ServerSentEvent]:
    """Yield an event for each change: of one study, as it is now first, or of all."""
    with changes_of(studies) as changes:
        yield ServerSentEvent(comment="it begins", retry=1000)
        if study is not None and (now := await asyncio.to_thread(studies.view, study)) is not None:
            yield _event(now)
        while not ending.is_set():
            for view in await changes.take(ending):
                if study is None or view.id == study:
                    yield _event(view)


def _event(view: StudyView) -> ServerSentEvent:
    return ServerSentEvent(event="study", raw_data=view.model_dump_json(by_alias=True))
