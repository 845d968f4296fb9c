"""From scans to results: the engine runs one scan while the next is read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.reading import Bundle, pick_artifact
from darnet_trt.errors import DarnetError, InternalError, RefusedScanError, ScanError, UsageError
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.engines.runner import Runner
from darnet_trt.runtime.prediction.prefetch import OneAhead
from darnet_trt.runtime.prediction.results import (
    Evidence,
    Result,
    SeriesUsed,
    StageTimes,
    undecided,
)
from darnet_trt.scan import Choice, Study, choose, find_studies, load_study
from darnet_trt.scan.discovery import distinct_paths, unseen

__all__ = ["predict"]


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
    notify: Callable[[str], None] = lambda line: None,
) -> Iterator[Result]:
    """Classify every scan under the paths once, in their order.

    The engine is loaded while the first scan's headers are read, and each scan is read while
    the one before it is classified. A scan that is refused or cannot be read becomes a result
    that says why, and the rest go on, also after an exception that nobody foresaw; one that the
    engine raises would come again with every scan and ends the run.

    Args:
        bundle: From `open_bundle`.
        paths: Files, series folders, studies, or folders of them.
        artifact: Which engine; None takes the bundle's default.
        threads: The engine's CPU threads; None leaves the number to it.
        engine: Loaded already, in place of `artifact` and `threads`; it stays open.
        evidence: Keep each result's input and activation map, for an overlay.
        finished: (scan, study_uid) of scans to leave out.
        repeats: Classify a scan as often as it is named, as a benchmark wants.
        notify: Told, also from another thread, what is being looked for and found, and what is
            unusual about the engine; nothing more once the iterator has ended.

    Raises:
        UsageError: No path, none of them exists, or there is no such artifact.
        BundleError: The engine cannot be loaded.
        MissingPackageError: A package that the engine needs is not installed.
    """
    paths = _as_paths(paths)
    if not any(os.path.lexists(path) for path in paths):
        raise UsageError("there is no such file or folder", where=", ".join(map(str, paths)))
    pick_artifact(bundle, artifact)  # no reading where there is no such engine
    paths = paths if repeats else distinct_paths(paths)
    notices = _Notices(notify)
    scans = OneAhead(_read_scans(bundle, paths, finished, notices.tell, repeats))
    try:
        loaded = engine or load_engine(bundle, artifact, threads=threads)
        for warning in loaded.warnings:
            notify(f"warning: {warning}")
        try:
            for scan in scans:
                yield _classify(_with_engine(scan, loaded), loaded.runner, bundle, evidence)
        finally:
            if engine is None:
                loaded.runner.close()
    finally:
        scans.close()
        notices.end()


class _Notices:
    """What the reading thread tells until `end`: an error's line shall be the last one."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._telling = threading.Lock()
        self._ended = False

    def tell(self, line: str) -> None:
        with self._telling:
            if not self._ended:
                self._notify(line)

    def end(self) -> None:
        with self._telling:
            self._ended = True


@dataclass(frozen=True, eq=False)
class _Scan:
    """A scan that was read, or a result that says why not."""

    result: Result
    volume: npt.NDArray[np.float32] | None = None
    oriented: bool = True


def _with_engine(scan: _Scan, engine: Engine) -> _Scan:
    result = replace(
        scan.result,
        artifact=engine.artifact.name,
        precision=engine.runner.precision,
        warnings=(*engine.warnings, *scan.result.warnings),
    )
    return replace(scan, result=result)


def _blank(bundle: Bundle) -> Result:
    return Result(
        scan="",
        study_uid="",
        status="failed",
        reason="",
        predicted=None,
        probabilities={},
        series=None,
        warnings=(),
        stages_ms=StageTimes(),
        bundle=bundle.sha256,
        artifact="",
        precision="",
        trained_on=bundle.manifest.model.trained_on,
    )


def _read_scans(
    bundle: Bundle,
    paths: Sequence[Path],
    finished: Collection[tuple[str, str]],
    notify: Callable[[str], None],
    repeats: bool,
) -> Iterator[_Scan]:
    seen: set[str] = set()
    for path in paths:
        start = time.perf_counter()
        if len(paths) == 1:  # of several, the results themselves show how far it is
            notify(f"looking for scans in {path} …")
        blank = replace(_blank(bundle), scan=_absolute(path))
        try:
            found = find_studies(path)
            studies = found if repeats else unseen(found, seen)
        except Exception as error:
            find = StageTimes(find=_ms_since(start))
            yield _Scan(_without_class(replace(blank, stages_ms=find), _of_the_scan(error)))
            continue
        if len(studies) > 1:
            notify(f"found {len(studies)} scans in {path}")
        share = StageTimes(find=_ms_since(start) / max(len(studies), 1))
        for study in studies:
            if (_absolute(study.path), study.uid) in finished:
                notify(f"already done: {study.path}")
                continue
            yield _read_study(bundle, study, replace(blank, stages_ms=share))


def _read_study(bundle: Bundle, study: Study, result: Result) -> _Scan:
    result = replace(result, scan=_absolute(study.path), study_uid=study.uid)
    start = time.perf_counter()
    try:
        result = _with_series(result, choose(study))
        find = result.stages_ms.find + _ms_since(start)
        result = replace(result, stages_ms=StageTimes(find=find))
        start = time.perf_counter()
        choice, loaded = load_study(study, bundle.manifest.preprocessing)
    except Exception as error:
        stage = "find" if result.series is None else "read"
        spent = getattr(result.stages_ms, stage) + _ms_since(start)
        result = replace(result, stages_ms=replace(result.stages_ms, **{stage: spent}))
        return _Scan(_without_class(result, _of_the_scan(error)))
    result = _with_series(result, choice)
    return _Scan(
        replace(
            result,
            # the verdict's warnings may come again with those that only the pixels could tell
            warnings=tuple(dict.fromkeys((*result.warnings, *loaded.warnings))),
            stages_ms=replace(
                result.stages_ms, read=loaded.read_ms, preprocess=loaded.preprocess_ms
            ),
        ),
        loaded.array,
        oriented=choice.series.format != "slices",  # picture files do not say which side is which
    )


def _classify(scan: _Scan, runner: Runner, bundle: Bundle, evidence: bool) -> Result:
    if scan.volume is None:
        return scan.result
    classes = bundle.manifest.classes
    start = time.perf_counter()
    outputs = runner.infer(scan.volume[None])
    stages = replace(scan.result.stages_ms, infer=_ms_since(start))
    if not (np.isfinite(outputs.logits).all() and np.isfinite(outputs.cam).all()):
        reason = "the engine gave values that are not finite; try another with --artifact"
        return replace(scan.result, stages_ms=stages, reason=reason)
    probabilities = outputs.probabilities[0]
    by_class = dict(zip(classes, map(float, probabilities), strict=True))
    return replace(
        scan.result,
        status="ok",
        predicted=classes[int(probabilities.argmax())],
        probabilities=by_class,
        warnings=(*scan.result.warnings, *undecided(by_class)),
        stages_ms=stages,
        evidence=Evidence(scan.volume[0], outputs.cam[0], scan.oriented) if evidence else None,
    )


def _of_the_scan(error: Exception) -> DarnetError | OSError:
    """What a scan's result says of it; what every scan would meet is raised on."""
    if isinstance(error, ScanError | UsageError | OSError):
        return error
    if isinstance(error, DarnetError | ImportError):  # a package is missing, or its library
        raise error
    return InternalError(error)


def _without_class(result: Result, error: DarnetError | OSError) -> Result:
    refused = isinstance(error, RefusedScanError)
    return replace(
        result, status="refused" if refused else "failed", reason=_reason(result.scan, error)
    )


def _reason(scan: str, error: DarnetError | OSError) -> str:
    """The error's line, without the path where that is the scan itself."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    if error.where is None or _absolute(Path(error.where)) != scan:
        return str(error)
    what = f"it {error.what}" if error.what.startswith(("is ", "has ", "cannot ")) else error.what
    return f"{what}; {error.do}" if error.do else what


def _with_series(result: Result, choice: Choice) -> Result:
    series = choice.series
    used = SeriesUsed(
        uid=series.uid,
        description=series.description,
        slices=series.slices,
        matrix=series.matrix,
        spacing_mm=series.spacing_mm,
        why=choice.why,
    )
    return replace(result, series=used, warnings=series.verdict.warnings)


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


_StrPath = str | os.PathLike[str]


def _as_paths(paths: _StrPath | Sequence[_StrPath]) -> list[Path]:
    return [Path(p) for p in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 (Path.absolute keeps "..", resolve follows links)
