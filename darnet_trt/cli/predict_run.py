"""One run of `predict`: over an archive once, or after a folder that is being filled."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from darnet_trt.cli.predict_output import Output
from darnet_trt.cli.predict_progress import RunProgress
from darnet_trt.cli.printing import say
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
TABLES_S: Final = 600.0
"""Seconds between two times that a run without an end writes its tables."""


@dataclass(frozen=True)
class Run:
    """What a run works with.

    Attributes:
        bundle: The bundle.
        engine: Loaded; None: `predict` loads it beside the first scan.
        artifact: The engine's name; None: the bundle's default.
        threads: The engine's CPU threads.
        workers: Most processes that read.
        memory: Most bytes.
        cam: Whether overlays are drawn.
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
    history: History
    output: Output
    progress: RunProgress

    def results(self, places: Sequence[Place]) -> Generator[Result, None, None]:
        """Yield the results of some places, not yet written."""
        from darnet_trt.runtime.prediction.predict import predict

        yield from predict(
            self.bundle,
            places,
            artifact=self.artifact,
            threads=self.threads,
            engine=self.engine,
            evidence=self.cam,
            history=self.history,
            workers=self.workers,
            memory=self.memory,
            notify=say,
            counted=self.progress.counted,
            progress=self.progress.found,
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


def once(run: Run, places: Sequence[Place]) -> bool:
    """Classify what is left to do; return whether no scan was found at all."""
    nothing: list[str] = []
    for result in run.results(places):
        written = run.take(result)
        if written.code in NOTHING:
            nothing.append(written.key)
    run.drop_gone(places)
    if len(nothing) < run.progress.done or run.history.known():
        return False
    if run.output.folder is not None:
        run.output.folder.drop(nothing)
    return bool(nothing)


def follow(run: Run, arrivals: Arrivals, places: Sequence[Place], settle_s: float) -> None:
    """Classify studies as they come, until a signal ends that; what is begun is finished.

    Args:
        run: With `arrivals` as its history, a folder for its results, and a loaded engine.
        arrivals: What says which studies are whole.
        places: Folders.
        settle_s: How long a study must be quiet.

    Raises:
        UsageError: A place is not a folder.
    """
    from darnet_trt.runtime.prediction.history.watch import IDLE, Changes

    for place in places:
        if not place.path.is_dir():
            raise UsageError("is not a folder", where=place.path, do="name a folder to watch")
    roots = {place.path: place.root for place in places}
    changes = Changes(roots, settle_s)
    say(f"watching {', '.join(map(str, roots))}; end it with Ctrl-C or SIGTERM")
    folder = run.output.folder
    assert folder is not None
    tabled, kept = time.monotonic(), 0
    with _stopped_by_signals() as stop:
        while not stop.is_set():
            start = time.process_time()
            folders = dict.fromkeys([*changes.look(), *arrivals.due()])
            cost = time.process_time() - start
            if folders:
                _round(run, arrivals, [_place(path, roots) for path in folders], stop)
            if run.progress.done > kept and time.monotonic() > tabled + TABLES_S:
                folder.write_tables()
                tabled, kept = time.monotonic(), run.progress.done
            stop.wait(max(min(settle_s / 10, 2.0), 0.2, cost / IDLE))


def _round(run: Run, arrivals: Arrivals, places: Sequence[Place], stop: threading.Event) -> None:
    from darnet_trt.runtime.prediction.history.history import TRANSIENT

    with closing(run.results(places)) as results:
        for result in results:
            if result.code in NOTHING:  # other files than scans, or a folder that is gone
                continue
            run.take(result)
            if result.code in TRANSIENT:
                arrivals.try_again(result.key, _folder(result, places))
            if stop.is_set():
                return
    run.drop_gone([])


def _place(folder: Path, roots: dict[Path, Path]) -> Place:
    from darnet_trt.scan.discovery.places import Place

    root = next(roots[above] for above in (folder, *folder.parents) if above in roots)
    return Place(folder, root, loose=True)


def _folder(result: Result, places: Sequence[Place]) -> Path:
    scan = next(path for p in places if (path := p.root / result.scan).is_relative_to(p.path))
    return scan if scan.is_dir() else scan.parent


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Set an event at the first SIGINT, SIGTERM or SIGHUP; the second one acts as usual."""
    stop = threading.Event()
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [number for number in signal.Signals if number.name in names]
    before = {n: h for n in numbers if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)}

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()
        for again, handler in before.items():
            signal.signal(again, handler)

    for number in before:
        signal.signal(number, end)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
