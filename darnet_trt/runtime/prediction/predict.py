"""From scans to results: the engine runs while other processes find and load the next scans."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, ParamSpec

from darnet_trt.bundle.reading import Bundle, pick_artifact
from darnet_trt.bundle.trust import CANNOT_FLAG
from darnet_trt.errors import no_such_path
from darnet_trt.machine.archives import archive_of
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.prediction.history.history import History
from darnet_trt.runtime.prediction.pipeline.discovery import Discovery
from darnet_trt.runtime.prediction.pipeline.making import Earlier
from darnet_trt.runtime.prediction.pipeline.memory import planned
from darnet_trt.runtime.prediction.pipeline.pipeline import Pipeline
from darnet_trt.runtime.prediction.results.result import Result, check_kinds
from darnet_trt.scan.discovery import Counts, distinct_paths
from darnet_trt.scan.discovery.places import Place, told_apart

Notify = Callable[[str], None]
Counted = Callable[[Counts], None]
Progress = Callable[[int, bool], None]


def predict(
    bundle: Bundle,
    paths: _StrPath | Sequence[_StrPath] | Sequence[Place],
    *,
    artifact: str | None = None,
    threads: int | None = None,
    engine: Engine | None = None,
    evidence: bool = False,
    dicom: Sequence[str] = (),
    earlier: Earlier = lambda key: None,
    history: History | None = None,
    workers: int | None = None,
    memory: int | None = None,
    repeats: bool = False,
    notify: Notify = lambda line: None,
    counted: Counted = lambda counts: None,
    progress: Progress = lambda found, all_found: None,
) -> Iterator[Result]:
    """Classify every study under the paths once, and yield results as they are ready.

    Child processes find studies folder by folder and load them, a bounded number ahead of the
    engine, which is loaded meanwhile. With one worker the results come in the order of the paths.

    A study whose StudyInstanceUID comes again in another place is classified again over all its
    files when the walk is done; that result has the same key, and the warning "several-places".

    A scan that is refused or cannot be read becomes a result with the reason, and the run goes on;
    so does a scan that raises an unexpected exception, or whose files end a child. An exception of
    the engine ends the run: every scan would meet it.

    Args:
        bundle: From `open_bundle`.
        paths: Files, folders or zip archives; a place in an archive is `study.zip/folder`. Or the
            places to search.
        artifact: Name of the engine; None takes the bundle's default.
        threads: The engine's CPU threads; None leaves the number to it.
        engine: A loaded engine to use instead of `artifact` and `threads`; it stays open.
        evidence: Keep each result's input and activation map, for an overlay.
        dicom: Kinds of DICOM objects to make of each result, for `Result.made`: "sr", "pm", "sc",
            and "refusal" of refused studies. Other processes make them while the engine goes on.
        earlier: Returns the result that stands for a study's key, such as `ResultFolder.result`:
            the same answer keeps its time, and another one names the report before.
        history: What earlier runs finished, which is left out.
        workers: Most child processes; None: one a CPU.
        memory: Most bytes for this process and its children; None: as the machine allows.
        repeats: Classify a scan as often as it is named, for a benchmark.
        notify: Called with a line on what is unusual about the run; also from another thread, but
            never after the iterator has ended.
        counted: Called with what became of some files when they were found; from another thread.
        progress: Called with how many studies were found so far that are to be classified, and
            whether these are all; from another thread.

    Raises:
        UsageError: No path, none of them exists, there is no such artifact or kind of DICOM object,
            or `memory` is too little.
        BundleError: The engine cannot be loaded.
        MissingPackageError: A package that the engine, or a DICOM object, needs is not installed.
        OutputError: The disk of temporary files is full.
        DarnetError: No process can be started.
    """
    began = time.perf_counter()
    if dicom:
        from darnet_trt.runtime.delivery.objects.make import need_highdicom

        check_kinds(dicom)
        need_highdicom()
    places = _places(paths, repeats)
    chosen = pick_artifact(bundle, artifact)  # read nothing where there is no such engine
    calls = _Calls()
    plan = planned(bundle, chosen, workers or usable_cpus(), memory, objects=bool(dicom))
    notify(str(plan))
    pipeline = Pipeline(bundle, plan, dicom, earlier, evidence=evidence)
    whole = False
    own = ExitStack()
    if history is None:
        nothing = History(None, lambda key: None, bundle=bundle.sha256, artifact=chosen.name)
        history = own.enter_context(nothing)
    discovery = Discovery(
        pipeline.finder,
        pipeline.loads,
        pipeline.spool,
        history,
        repeats=repeats,
        counted=calls.only_before_the_end(counted),
        progress=calls.only_before_the_end(progress),
    )
    try:
        with closing(calls):
            discovery.start(places, began)
            loaded = engine or load_engine(bundle, artifact, threads=threads)
            try:
                for warning in loaded.warnings:
                    notify(f"warning: {warning}")
                if bundle.manifest.familiarity is None:
                    notify(f"warning: {CANNOT_FLAG}")
                yield from pipeline.results(loaded)
                whole = True
            finally:
                if engine is None:
                    loaded.runner.close()
    finally:
        pipeline.close(keep_one=whole)
        discovery.join()
        own.close()


_NAMED: Final = 3
"""Absent paths that an error names."""
_StrPath = str | os.PathLike[str]
_P = ParamSpec("_P")


def _places(paths: _StrPath | Sequence[_StrPath] | Sequence[Place], repeats: bool) -> list[Place]:
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    places = [path for path in listed if isinstance(path, Place)]
    named = [Path(path) for path in listed if not isinstance(path, Place)]
    every = [place.path for place in places] + named
    if every and not any(os.path.lexists(path) or archive_of(path) for path in every):
        more = f", and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
        raise no_such_path(", ".join(map(str, every[:_NAMED])) + more)
    if places:
        return places
    return told_apart(map(Place.given, named if repeats else distinct_paths(named)))


class _Calls:
    """Pass calls from other threads on until `close`, so that an error's line is the last one."""

    def __init__(self) -> None:
        self._calling = threading.RLock()
        self._ended = False

    def only_before_the_end(self, function: Callable[_P, None]) -> Callable[_P, None]:
        """Return a function that calls another one unless all has ended."""

        def call(*args: _P.args, **kwargs: _P.kwargs) -> None:
            with self._calling:
                if not self._ended:
                    function(*args, **kwargs)

        return call

    def close(self) -> None:
        with self._calling:
            self._ended = True
