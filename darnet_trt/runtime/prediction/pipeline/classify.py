"""Make results of what was loaded, and of what could not be."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.manifest import ModelCard
from darnet_trt.bundle.reading import Bundle
from darnet_trt.errors import DarnetError, Finding, RefusedScanError, one_line
from darnet_trt.evaluation.temperature import calibrated
from darnet_trt.runtime.engines.loading import Engine
from darnet_trt.runtime.prediction.pipeline.familiarity import read_familiarity
from darnet_trt.runtime.prediction.pipeline.loading import Loads, Read, Ready
from darnet_trt.runtime.prediction.results.result import (
    PHANTOMS_ONLY,
    SHORTCUT,
    UNLIKE,
    Evidence,
    Result,
    SeriesUsed,
    SlicesUsed,
    StageTimes,
    now,
    undecided,
)
from darnet_trt.scan import LoadedInput, Series
from darnet_trt.scan.cohorts import is_phantom

COARSER: Final = 1.1
"""Pixels larger by this factor than the training data's are warned of; training scales by 8 %."""


@dataclass(frozen=True, eq=False)
class _Answer:
    """What the engine said about one scan.

    Attributes:
        volume: Its input, (1, d, h, w).
        logits: (classes), as the network gives them.
        probabilities: (classes), calibrated.
        cam: (classes, d/8, h/16, w/16).
        distance: From the training scans; NaN where it is not known.
        finite: Whether all of it are numbers.
        ms: Time of the engine and of what is computed from its outputs; a batch's is shared evenly.
    """

    volume: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float64]
    cam: npt.NDArray[np.float32]
    distance: float
    finite: bool
    ms: float


class Classifier:
    """Runs the engine, and makes results.

    Args:
        engine: A loaded engine.
        bundle: Its bundle.
        largest: Most scans at once.
        evidence: Whether results keep what pictures and maps are made from.
    """

    def __init__(self, engine: Engine, bundle: Bundle, largest: int, evidence: bool) -> None:
        self._engine, self._bundle, self._evidence = engine, bundle, evidence
        size = bundle.manifest.preprocessing.size
        self._familiarity = read_familiarity(bundle)
        self._inputs = np.empty((largest if largest > 1 else 0, 1, *size), np.float32)

    def results(self, batch: Sequence[Ready], loads: Loads) -> list[tuple[Ready, Result]]:
        """Return each with its result, and free their places.

        Args:
            batch: From `batches`.
            loads: Where they came from.
        """
        loaded = [ready for ready in batch if ready.read.loaded is not None]
        answers = iter(self._answers(loaded) if loaded else ())
        results = [
            (ready, self._result(ready, None if ready.read.loaded is None else next(answers)))
            for ready in batch
        ]
        for ready in batch:
            loads.release(ready)
        return results

    def _answers(self, loaded: Sequence[Ready]) -> list[_Answer]:
        count, inputs = len(loaded), [ready.array for ready in loaded]
        # A single one is taken where it lies.
        given = inputs[0][None] if count == 1 else np.stack(inputs, out=self._inputs[:count])
        start = time.perf_counter()
        outputs = self._engine.runner.infer(given)
        with np.errstate(invalid="ignore", over="ignore"):  # of what is not finite
            distances = np.full(count, np.nan)
            if self._familiarity is not None and outputs.features is not None:
                textures = np.stack([ready.read.texture for ready in loaded])
                distances = self._familiarity.distance(outputs.features, textures)
            probabilities = calibrated(outputs.logits, self._bundle.manifest.model.temperature)
        finite = outputs.finite
        ms = (time.perf_counter() - start) * 1000 / count
        return [
            _Answer(
                volume=given[one],
                logits=outputs.logits[one],
                probabilities=probabilities[one],
                cam=outputs.cam[one],
                distance=float(distances[one]),
                finite=bool(finite[one]),
                ms=ms,
            )
            for one in range(count)
        ]

    def _result(self, ready: Ready, answer: _Answer | None) -> Result:
        start = time.perf_counter()
        task, read, manifest = ready.task, ready.read, self._bundle.manifest
        reason = Finding("", "") if read.error is None else _reason(task.study.path, read.error)
        warnings = [*self._engine.warnings, *task.warnings, *_warnings(read)]
        ms = {**read.ms, "find": task.find_ms + read.ms.get("find", 0.0)}
        probabilities: dict[str, float] = {}
        logits: dict[str, float] = {}
        shown = None
        if answer is not None:
            assert read.loaded is not None
            assert read.choice is not None
            if answer.finite:
                logits, probabilities = (
                    dict(zip(manifest.classes, map(float, found), strict=True))
                    for found in (answer.logits, answer.probabilities)
                )
                warnings += filter(None, [self._unlike(answer)])
                warnings += _about_training(read.choice.series, read.loaded, manifest.model)
                warnings += filter(None, [undecided(probabilities)])
            else:
                reason = Finding(
                    "not-finite", "the engine gave NaN or infinity; try another with --artifact"
                )
        person, series = task.study.person, _used(read)
        refused = isinstance(read.error, RefusedScanError)
        if answer is not None:
            ms["infer"] = answer.ms + (time.perf_counter() - start) * 1000
            if self._evidence and answer.finite:
                assert read.choice is not None
                volume = answer.volume[0].copy()  # the next scan overwrites it
                shown = Evidence(volume, answer.cam, read.choice.series.oriented)
        return Result(
            scan=task.name,
            key=task.study.key,
            content=task.study.content,
            study_uid=task.study.uid,
            status="ok" if probabilities else "refused" if refused else "failed",
            reason=reason,
            code=reason.code,
            predicted=max(probabilities, key=probabilities.__getitem__, default=None),
            probabilities=probabilities,
            logits=logits,
            series=series,
            warnings=tuple(warnings),
            stages_ms=StageTimes(**ms),
            bundle_sha256=self._bundle.sha256,
            artifact=self._engine.artifact.name,
            precision=self._engine.runner.precision,
            trained_on=manifest.model.trained_on,
            finished=now(),
            patient_id=person.patient_id or None,
            accession_number=person.accession_number or None,
            study_date=person.study_date or None,
            evidence=shown,
        )

    def _unlike(self, answer: _Answer) -> Finding | None:
        """Return a warning where a scan lies farther than scans like the training scans do."""
        familiarity = self._familiarity
        if familiarity is None or not answer.distance > familiarity.threshold:
            return None
        return Finding(
            UNLIKE,
            "the scan is unlike the training scans: do not rely on its class (it lies at distance "
            f"{answer.distance:.3g}, scans like them up to {familiarity.threshold:.3g})",
        )


def _warnings(read: Read) -> tuple[Finding, ...]:
    """Return what is unusual about a scan by its headers, then by its pixels; each once."""
    by_headers = read.choice.series.verdict.warnings if read.choice else ()
    by_pixels = read.loaded.warnings if read.loaded else ()
    return tuple(dict.fromkeys((*by_headers, *by_pixels)))


def _about_training(series: Series, loaded: LoadedInput, model: ModelCard) -> Iterator[Finding]:
    """Yield a warning of the training data, and of each way in which a scan is unlike them."""
    if model.saw_only_phantoms and not is_phantom(series):
        yield PHANTOMS_ONLY
    if model.shortcuts:
        yield Finding(
            SHORTCUT,
            "the cohort that the network was trained on gives its classes away without the lungs "
            f"({', '.join(model.shortcuts)}): the class may not come from the lungs",
        )
    pixel_mm, coarsest_mm = loaded.pixel_mm, model.coarsest_pixel_mm
    if pixel_mm and coarsest_mm and pixel_mm > COARSER * coarsest_mm:
        yield Finding(
            "coarse-pixels",
            f"the network sees pixels of {pixel_mm:.2g} mm, coarser than in any training scan "
            f"(at most {coarsest_mm:.2g} mm)",
        )


def _reason(scan: Path, error: DarnetError) -> Finding:
    """Return the error's line, without the path where that is the scan itself."""
    if error.where is None or Path(error.where) != scan:
        return Finding(error.code, str(error))
    what = f"it {error.what}" if error.what.startswith(("is ", "has ", "cannot ")) else error.what
    return Finding(error.code, one_line(f"{what}; {error.do}" if error.do else what))


def _used(read: Read) -> SeriesUsed | None:
    if read.choice is None:
        return None
    series, loaded = read.choice.series, read.loaded
    return SeriesUsed(
        uid=series.uid,
        number=series.number,
        description=series.description,
        slices=series.slices,
        matrix=series.matrix,
        spacing_mm=series.spacing_mm,
        why=read.choice.why,
        sampled=None if loaded is None else SlicesUsed.model_validate(loaded.sampled),
    )
