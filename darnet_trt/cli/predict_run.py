"""One run of `predict`: over an archive once, or after a folder that is being filled."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from darnet_trt.cli.predict_output import Output
from darnet_trt.cli.predict_progress import RunProgress
from darnet_trt.cli.printing import say
from darnet_trt.cli.signals import Handlers, handled
from darnet_trt.errors import UsageError

if TYPE_CHECKING:
    from darnet_trt.bundle.reading import Bundle
    from darnet_trt.runtime.engines.loading import Engine
    from darnet_trt.runtime.prediction.history.history import History
    from darnet_trt.runtime.prediction.history.watch import Arrivals
    from darnet_trt.runtime.prediction.results.result import Result
    from darnet_trt.scan.discovery.places import Place

NOTHING: Final = frozenset({"no-scan", "no-such-path"})
"""Codes of places without a scan."""
IDLE: Final = 0.01
BUSY: Final = 0.1
"""Largest share of one CPU that looking for changes takes: where there are none, and some."""
TABLES_S: Final = 600.0
"""Seconds between two times that a run without an end writes its tables."""


@dataclass(frozen=True)
class Run:
    """Holds what a run works with.

    Attributes:
        bundle: The bundle.
        engine: Loaded; None: `predict` loads it beside the first scan.
        artifact: The engine's name; None: the bundle's default.
        threads: The engine's CPU threads.
        workers: Most processes that read.
        memory: Most bytes.
        cam: Whether overlays are drawn.
        dicom: Kinds of DICOM objects that are made.
        history: What is finished.
        output: Where the results go.
        progress: What counts them.
    """

    bundle: Bundle
    engine: Engine | None
    artifact: str | None
    threads: int | None
    workers: int | None
    memory: int | None
    cam: bool
    dicom: tuple[str, ...]
    history: History
    output: Output
    progress: RunProgress

    def results(
        self,
        places: Sequence[Place],
        *,
        notify: Callable[[str], None] = say,
        found: Callable[[int, bool], None] | None = None,
    ) -> Generator[Result, None, None]:
        """Yield the results of some places, not yet written.

        Args:
            places: To search.
            notify: As of `predict`.
            found: As `progress` of `predict`; None: the run's.
        """
        from darnet_trt.runtime.prediction.predict import predict

        yield from predict(
            self.bundle,
            places,
            artifact=self.artifact,
            threads=self.threads,
            engine=self.engine,
            evidence=self.cam,
            dicom=self.dicom,
            earlier=self.output.earlier,
            history=self.history,
            workers=self.workers,
            memory=self.memory,
            notify=notify,
            counted=self.progress.counted,
            progress=found or self.progress.found,
        )

    def take(self, result: Result) -> Result:
        """Write and count a result."""
        written = self.output.add(result)
        self.progress.add(written, told=self.output.told_on_stdout)
        return written

    def drop_gone(self, places: Sequence[Place]) -> None:
        """Drop failed results whose files are gone or mended; the walk must be at its end."""
        if self.output.folder is not None:
            self.output.folder.drop(self.history.gone(places))


def once(run: Run, places: Sequence[Place], *, of_shard: bool = False) -> bool:
    """Classify what is left to do; return whether no scan was found at all.

    Args:
        run: The run.
        places: To search.
        of_shard: Whether the scans may lie in other shards: then nothing is known of all.
    """
    nothing: list[str] = []
    for result in run.results(places):
        written = run.take(result)
        if written.code in NOTHING:
            nothing.append(written.key)
    run.drop_gone(places)
    if of_shard or len(nothing) < run.progress.done or run.history.known():
        return False
    if run.output.folder is not None:
        run.output.folder.drop(nothing)
    return bool(nothing)


def follow(run: Run, arrivals: Arrivals, places: Sequence[Place], settle_s: float) -> None:
    """Classify studies as they come, until a signal ends that; what is finished is kept.

    Args:
        run: With `arrivals` as its history, a folder for its results, and a loaded engine.
        arrivals: What says which studies are whole.
        places: Folders.
        settle_s: How long a study must be quiet.

    Raises:
        UsageError: A place is not a folder, or a shard's part of one.
    """
    for place in places:
        if not place.path.is_dir():
            raise UsageError("is not a folder", where=place.path, do="name a folder to watch")
        if place.part:  # of a folder that is still to come no part is known
            raise UsageError("cannot be watched in parts", where=place.path, do="omit --shard")
    stop = _Stop()
    with suppress(_Stopped), handled(("SIGINT", "SIGTERM", "SIGHUP"), stop.ask):
        say(f"watching {', '.join(str(p.path) for p in places)}; end it with Ctrl-C or SIGTERM")
        arrivals.follow(places)
        say_once = lru_cache(say)
        tabled, kept = time.monotonic(), 0
        while not stop.asked:
            start = time.process_time()
            arrived = arrivals.arrived()
            cost_s = time.process_time() - start
            if arrived:
                _round(run, arrivals, arrived, stop, say_once)
            if run.progress.done > kept and time.monotonic() > tabled + TABLES_S:
                assert run.output.folder is not None
                run.output.folder.write_tables()
                tabled, kept = time.monotonic(), run.progress.done
            rest_s = min(cost_s / (BUSY if arrived else IDLE), max(settle_s / 2, 1.0))
            time.sleep(max(min(settle_s / 10, 2.0), 0.2, rest_s))


def _round(
    run: Run,
    arrivals: Arrivals,
    places: Sequence[Place],
    stop: _Stop,
    notify: Callable[[str], None],
) -> None:
    # How many will come is not known, and what a search says at its start was said before.
    searched = run.results(places, notify=notify, found=lambda found, all_found: None)
    with closing(searched) as results:
        for result in results:
            if result.code in NOTHING:  # other files than scans, or a folder that is gone
                continue
            with stop.after_this():
                run.take(result)
                arrivals.done(result)
    with stop.after_this():
        run.drop_gone([])


class _Stopped(BaseException):
    """The watch ends; a BaseException, so that nothing handles it and continues."""


class _Stop:
    """Tells whether a signal has come.

    Attributes:
        asked: Whether it has; a destructor may have swallowed `_Stopped`.
    """

    def __init__(self) -> None:
        self.asked = self._wait = False

    def ask(self, number: int, before: Handlers) -> None:
        """Raise `_Stopped`, at once or after what must be finished; a second signal acts as usual.

        Args:
            number: The signal's.
            before: The handlers that the signals had before.
        """
        for again, handler in before.items():
            signal.signal(again, handler)
        self.asked = True
        if not self._wait:
            raise _Stopped

    @contextmanager
    def after_this(self) -> Iterator[None]:
        """Finish what is inside before `_Stopped` is raised."""
        self._wait = True
        try:
            yield
        finally:
            self._wait = False
        if self.asked:
            raise _Stopped
