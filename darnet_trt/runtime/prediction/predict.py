"""From scans to results: the engine runs one scan while the next is read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from darnet_trt.bundle.manifest import ModelCard
from darnet_trt.bundle.reading import Bundle, pick_artifact
from darnet_trt.errors import (
    DarnetError,
    Finding,
    InternalError,
    RefusedScanError,
    no_such_path,
)
from darnet_trt.machine.cache import digest
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.prediction.prefetch import OneAhead
from darnet_trt.runtime.prediction.results.result import (
    PHANTOMS_ONLY,
    Evidence,
    Result,
    SeriesUsed,
    SlicesUsed,
    StageTimes,
    now,
    undecided,
)
from darnet_trt.scan import Choice, LoadedInput, Preprocessing, Series, Study
from darnet_trt.scan.cohort import is_phantom
from darnet_trt.scan.discovery import Counts, distinct_paths, search, unseen
from darnet_trt.scan.isolated import OF_ONE_SCAN, Reader, out_of_memory, reader
from darnet_trt.scan.loading.choice import rank
from darnet_trt.scan.loading.load import load_best

COARSER: Final = 1.1
"""Pixels larger by this factor than the training data's are warned of; training scales by 8 %."""

Notify = Callable[[str], None]
Counted = Callable[[Counts], None]


def predict(
    bundle: Bundle,
    paths: _StrPath | Sequence[_StrPath],
    *,
    artifact: str | None = None,
    threads: int | None = None,
    engine: Engine | None = None,
    evidence: bool = False,
    finished: Collection[tuple[str, str]] = (),
    repeats: bool = False,
    notify: Notify = lambda line: None,
    counted: Counted = lambda counts: None,
) -> Iterator[Result]:
    """Classify every scan under the paths once, in their order.

    The engine is loaded while the first scan's headers are read, and each scan is read while
    the one before it is classified. Pixels are read in a child process. A scan that is refused or
    cannot be read becomes a result with the reason, and the run goes on; so does a scan that
    raises an unexpected exception, or whose pixels end the child. An exception of the engine ends
    the run: every scan would meet it.

    Args:
        bundle: From `open_bundle`.
        paths: Files, folders or zip archives; a place in an archive is `study.zip/folder`.
        artifact: Name of the engine; None takes the bundle's default.
        threads: The engine's CPU threads; None leaves the number to it.
        engine: A loaded engine to use instead of `artifact` and `threads`; it stays open.
        evidence: Keep each result's input and activation map, for an overlay.
        finished: (scan, study_uid) of scans to skip.
        repeats: Classify a scan as often as it is named, for a benchmark.
        notify: Called with a line on what is searched and found, and on what is unusual about
            the engine; also from another thread, but never after the iterator has ended.
        counted: Called with what became of a path's files when they were found; from another
            thread.

    Raises:
        UsageError: No path, none of them exists, or there is no such artifact.
        BundleError: The engine cannot be loaded.
        MissingPackageError: A package that the engine needs is not installed.
    """
    named = [Path(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not any(os.path.lexists(path) for path in named):
        raise no_such_path(", ".join(map(str, named)))
    pick_artifact(bundle, artifact)  # read nothing where there is no such engine
    named = named if repeats else distinct_paths(named)
    notices = _Notices(notify)
    spec = bundle.manifest.preprocessing
    with reader() as pixels, closing(notices):
        scans = OneAhead(_read_scans(spec, named, finished, notices.tell, counted, repeats, pixels))
        loaded = engine or load_engine(bundle, artifact, threads=threads)
        for warning in loaded.warnings:
            notify(f"warning: {warning}")
        try:
            for scan in scans:
                yield _result(scan, loaded, bundle, evidence)
        finally:
            if engine is None:
                loaded.runner.close()


class _Notices:
    """Pass on the reading thread's lines until `close`, so that an error's line is the last one."""

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._telling = threading.Lock()
        self._ended = False

    def tell(self, line: str) -> None:
        with self._telling:
            if not self._ended:
                self._notify(line)

    def close(self) -> None:
        with self._telling:
            self._ended = True


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan as the reading thread leaves it.

    Attributes:
        path: Absolute, of the study.
        uid: Its StudyInstanceUID.
        choice: The series that was loaded, or that failed to load.
        loaded: The network's input; None where there is an error.
        error: Why the scan cannot be classified.
        ms: Stage → milliseconds, for `StageTimes`.
    """

    path: str
    uid: str = ""
    choice: Choice | None = None
    loaded: LoadedInput | None = None
    error: DarnetError | OSError | None = None
    ms: dict[str, float] = field(default_factory=dict)


def _read_scans(
    spec: Preprocessing,
    paths: Sequence[Path],
    finished: Collection[tuple[str, str]],
    notify: Notify,
    counted: Counted,
    repeats: bool,
    pixels: Reader,
) -> Iterator[_Scan]:
    seen: set[str] = set()
    for path in paths:
        start = time.perf_counter()
        if len(paths) == 1:  # of several, the results themselves show how far the run is
            notify(f"looking for scans in {path} …")
        try:
            found = search(path)
            studies = found.studies if repeats else unseen(found.studies, seen)
        except Exception as error:
            of_it = _of_the_scan(error, path)
            yield _Scan(_absolute(path), error=of_it, ms={"find": _ms_since(start)})
            continue
        counted(found.counts)
        if len(studies) > 1:
            notify(f"found {_scans(len(studies))} in {path}")
        done = sum((_absolute(s.path), s.uid) in finished for s in studies)
        if done:
            notify(f"already done: {done} of {_scans(len(studies))} in {path}")
        find_ms = _ms_since(start) / max(len(studies), 1)
        for study in studies:
            if (_absolute(study.path), study.uid) not in finished:
                yield _read_study(study, spec, pixels, find_ms)


def _scans(count: int) -> str:
    return f"{count} scan{'s' * (count != 1)}"


def _read_study(study: Study, spec: Preprocessing, pixels: Reader, find_ms: float) -> _Scan:
    path, ms = _absolute(study.path), {"find": find_ms}
    start = time.perf_counter()
    try:
        ranked = rank(study)
    except Exception as error:
        return _Scan(path, study.uid, error=_of_the_scan(error, study.path), ms=ms)
    ms["find"] += _ms_since(start)
    start = time.perf_counter()
    try:
        choice, loaded = pixels.run(load_best, study, ranked, spec, where=study.path)
    except Exception as error:
        ms["read"] = _ms_since(start)
        return _Scan(path, study.uid, ranked[0], error=_of_the_scan(error, study.path), ms=ms)
    preprocess_ms = loaded.preprocess_ms
    ms |= {"read": _ms_since(start) - preprocess_ms, "preprocess": preprocess_ms}
    return _Scan(path, study.uid, choice, loaded, ms=ms)


def _of_the_scan(error: Exception, scan: Path) -> DarnetError | OSError:
    """Return an error that concerns one scan; raise one that every scan would meet."""
    if isinstance(error, (*OF_ONE_SCAN, OSError)):
        return error
    if isinstance(error, MemoryError):
        return out_of_memory(scan)
    if isinstance(error, DarnetError | ImportError):  # a package is missing, or its library
        raise error
    return InternalError(error, where=scan)


def _result(scan: _Scan, engine: Engine, bundle: Bundle, evidence: bool) -> Result:
    classes = bundle.manifest.classes
    reason = Finding("", "") if scan.error is None else _reason(scan.path, scan.error)
    warnings = [*engine.warnings, *_warnings(scan)]
    probabilities: dict[str, float] = {}
    shown, ms = None, scan.ms
    if scan.loaded is not None and scan.choice is not None:
        start = time.perf_counter()
        outputs = engine.runner.infer(scan.loaded.array[None])
        ms = {**ms, "infer": _ms_since(start)}
        if np.isfinite(outputs.logits).all() and np.isfinite(outputs.cam).all():
            probabilities = dict(zip(classes, map(float, outputs.probabilities[0]), strict=True))
            warnings += _about_training(scan.choice.series, scan.loaded, bundle.manifest.model)
            warnings += filter(None, [undecided(probabilities)])
            oriented = scan.choice.series.oriented
            shown = Evidence(scan.loaded.array[0], outputs.cam[0], oriented)
        else:
            reason = Finding(
                "not-finite", "the engine gave NaN or infinity; try another with --artifact"
            )
    refused = isinstance(scan.error, RefusedScanError)
    place = digest(scan.path, scan.uid)
    return Result(
        scan=scan.path,
        key=f"path:{place}",
        content=place,
        study_uid=scan.uid,
        status="ok" if probabilities else "refused" if refused else "failed",
        reason=reason,
        code=reason.code,
        predicted=max(probabilities, key=probabilities.__getitem__, default=None),
        probabilities=probabilities,
        series=_used(scan.choice, scan.loaded),
        warnings=tuple(warnings),
        stages_ms=StageTimes(**ms),
        finished=now(),
        bundle_sha256=bundle.sha256,
        artifact=engine.artifact.name,
        precision=engine.runner.precision,
        trained_on=bundle.manifest.model.trained_on,
        evidence=shown if evidence else None,
    )


def _warnings(scan: _Scan) -> tuple[Finding, ...]:
    """Return what is unusual about a scan by its headers, then by its pixels; each once."""
    by_headers = scan.choice.series.verdict.warnings if scan.choice else ()
    by_pixels = scan.loaded.warnings if scan.loaded else ()
    return tuple(dict.fromkeys((*by_headers, *by_pixels)))


def _about_training(series: Series, loaded: LoadedInput, model: ModelCard) -> Iterator[Finding]:
    """Yield a warning for each way in which a scan is unlike what the network was trained on."""
    if model.saw_only_phantoms and not is_phantom(series):
        yield PHANTOMS_ONLY
    pixel_mm, coarsest_mm = loaded.pixel_mm, model.coarsest_pixel_mm
    if pixel_mm and coarsest_mm and pixel_mm > COARSER * coarsest_mm:
        yield Finding(
            "coarse-pixels",
            f"the network sees pixels of {pixel_mm:.2g} mm, coarser than in any training scan "
            f"(at most {coarsest_mm:.2g} mm)",
        )


def _reason(scan: str, error: DarnetError | OSError) -> Finding:
    """Return the error's line, without the path where that is the scan itself."""
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else ""
        return Finding("cannot-read", f"{error.strerror or error}{place}")
    if error.where is None or _absolute(Path(error.where)) != scan:
        return Finding(error.code, str(error))
    what = f"it {error.what}" if error.what.startswith(("is ", "has ", "cannot ")) else error.what
    return Finding(error.code, f"{what}; {error.do}" if error.do else what)


def _used(choice: Choice | None, loaded: LoadedInput | None) -> SeriesUsed | None:
    if choice is None:
        return None
    series = choice.series
    return SeriesUsed(
        uid=series.uid,
        number=series.number,
        description=series.description,
        slices=series.slices,
        matrix=series.matrix,
        spacing_mm=series.spacing_mm,
        why=choice.why,
        sampled=None if loaded is None else SlicesUsed.model_validate(loaded.sampled),
    )


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


_StrPath = str | os.PathLike[str]


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (Path.absolute keeps "..", resolve follows links)
