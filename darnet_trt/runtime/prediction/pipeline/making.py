"""Make DICOM objects of results in other processes, while the engine goes on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from darnet_trt.bundle.class_code import ClassCode
from darnet_trt.bundle.manifest import Manifest, ModelCard
from darnet_trt.errors import DarnetError, Finding, InternalError, one_line
from darnet_trt.machine.pool import Pool
from darnet_trt.machine.worker import WorkerDied
from darnet_trt.runtime.prediction.pipeline.finding import KILLS
from darnet_trt.runtime.prediction.pipeline.memory import Plan
from darnet_trt.runtime.prediction.results.lines import parsed
from darnet_trt.runtime.prediction.results.result import (
    NO_OBJECTS,
    OBJECTS,
    REFUSAL,
    DicomDocument,
    Evidence,
    Made,
    Result,
    json_line,
    kinds_of,
)
from darnet_trt.scan.isolated import submit

if TYPE_CHECKING:
    from darnet_trt.runtime.delivery.source import Source

Earlier = Callable[[str], Result | None]
_Coming = Future[tuple[list[Made], list[Finding]]]
_REPORTS: Final = ("sr", REFUSAL)
"""Kinds that a later report names as its predecessor."""
_ANSWER: Final = {
    *("status", "reason", "code", "probabilities"),
    *("bundle_sha256", "artifact", "precision", "toolkit"),
}
"""Fields that are the same in the same answer."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A result that waits for its objects, or for those of one before it."""

    result: Result
    coming: _Coming | None


class Making:
    """Makes objects of results, and gives the results back in their order.

    It leaves one process of the pool to the reading, so that the engine need not wait for that.

    Args:
        pool: Where objects are made.
        kinds: Which; none: results pass at once.
        manifest: Of the bundle.
        plan: How many results may wait.
        earlier: Returns the result that stands for a study's key.
        evidence: Whether results keep their evidence.
    """

    def __init__(
        self,
        pool: Pool,
        kinds: Sequence[str],
        manifest: Manifest,
        plan: Plan,
        earlier: Earlier,
        *,
        evidence: bool,
    ) -> None:
        self._pool, self._kinds, self._manifest, self._plan = pool, kinds, manifest, plan
        self._earlier, self._evidence = earlier, evidence
        self._waiting: deque[_Waiting] = deque()
        self._most, self._running = max(1, plan.workers - 1), 0
        self._calls: deque[tuple[_Coming, Path, tuple[Any, ...]]] = deque()
        self._changing = threading.Lock()

    def waits(self) -> bool:
        """Return whether a result waits for its objects."""
        return bool(self._waiting)

    def add(self, result: Result, source: Source | Finding | None) -> Iterator[Result]:
        """Begin the objects of a result; yield the results that are whole, in order.

        It waits only where as many results as the plan allows wait already, or one of the same
        study: that one must stand before this one replaces it.

        Args:
            result: With its evidence.
            source: What `load` gave.
        """
        while any(waiting.result.key == result.key for waiting in self._waiting):
            yield self._first()
        kinds = kinds_of(result.status, self._kinds)
        own = None if isinstance(source, Finding) else source
        result = _continued(result, self._earlier(result.key), own)
        if kinds and source is not None:
            remark = source if isinstance(source, Finding) else source.remark
            result = _warned(result, [remark] if remark else [])
        coming = self._begin(result, own, kinds) if kinds and own else None
        self._waiting.append(_Waiting(result, coming))
        while len(self._waiting) > self._plan.results:
            yield self._first()
        yield from self.whole()

    def whole(self) -> Iterator[Result]:
        """Yield the results that are whole, up to the first that is not."""
        while self._waiting and (not (coming := self._waiting[0].coming) or coming.done()):
            yield self._first()

    def rest(self) -> Iterator[Result]:
        """Yield all others as they come; nothing more is read, so every process may make some."""
        for _ in range(self._plan.workers - self._most):
            self._most += 1
            self._submit()
        while self._waiting:
            yield self._first()

    def _begin(self, result: Result, source: Source, kinds: Sequence[str]) -> _Coming:
        stored = parsed(json_line(result).encode())  # so that a line gives the same objects
        coming: _Coming = Future()
        bundle = self._manifest
        arguments = (stored, result.evidence, source, kinds, bundle.model, bundle.class_codes)
        with self._changing:
            self._calls.append((coming, Path(result.scan), arguments))
        self._submit()
        return coming

    def _submit(self) -> None:
        """Begin the next call, unless as many run as may."""
        with self._changing:
            if not self._calls or self._running == self._most:
                return
            self._running += 1
            coming, where, arguments = self._calls.popleft()

        def done(future: _Coming) -> None:
            with self._changing:
                self._running -= 1
            if (error := future.exception()) is not None:
                coming.set_exception(error)
            else:
                coming.set_result(future.result())
            self._submit()

        share = self._plan.share
        began = submit(self._pool, make, *arguments, where=where, memory=share, kills=KILLS)
        began.add_done_callback(done)

    def _first(self) -> Result:
        waiting = self._waiting.popleft()
        result = waiting.result
        made: list[Made] = []
        if waiting.coming is not None:
            try:
                made, lacking = waiting.coming.result()
            except WorkerDied as died:
                lacking = [_none(f"the process that made them {died.how}")]
            except Exception as error:
                lacking = [_none(str(error))]
            result = _warned(result, lacking)
        present = {one.kind for one in made}
        wanted = kinds_of(result.status, self._kinds)
        return result.model_copy(
            update={
                "made": tuple(made),
                "dicom_unmade": tuple(kind for kind in wanted if kind not in present),
                "evidence": result.evidence if self._evidence else None,
            }
        )


def make(
    result: Result,
    evidence: Evidence | None,
    source: Source,
    kinds: Sequence[str],
    about: ModelCard,
    class_codes: Mapping[str, ClassCode],
) -> tuple[list[Made], list[Finding]]:
    """Return the objects of a result, and a warning for each kind that cannot be made.

    Runs in a process of the pool.

    Args:
        result: As it is stored.
        evidence: As of `make_objects`.
        source: As of `make_objects`.
        kinds: As of `make_objects`.
        about: As of `make_objects`.
        class_codes: As of `make_objects`.
    """
    from darnet_trt.runtime.delivery.objects.make import make_objects

    made: list[Made] = []
    lacking: list[Finding] = []
    for kind in kinds:
        try:
            one = make_objects(result, evidence, source, [kind], about, class_codes)
        except MemoryError:
            lacking.append(_none("it needs more memory than there is", kind))
        except Exception as error:
            known = isinstance(error, DarnetError)
            lacking.append(_none(str(error) if known else InternalError(error).what, kind))
        else:
            made += one
            if not one:
                lacking.append(_none("the place of the input in the patient is not known", kind))
    return made, lacking


def _none(why: str, kind: str | None = None) -> Finding:
    what = "no DICOM objects" if kind is None else f"no DICOM object of kind {kind}"
    return Finding(NO_OBJECTS, one_line(f"{what}: {why}"))


def _warned(result: Result, lacking: Sequence[Finding]) -> Result:
    return result.model_copy(update={"warnings": (*result.warnings, *lacking)})


def _continued(result: Result, old: Result | None, source: Source | None) -> Result:
    """Return a result with what it takes over from the one that it will replace.

    The same answer keeps its time, so that its objects are the same. Another one names the report
    of the one before as its predecessor.

    Args:
        result: The new one.
        old: The one that stands; None where there is none.
        source: What the new one was made from; None: not known.
    """
    if old is None:
        return result
    uids = _uids(result, source) if source else set()
    if _is_same(result, old, uids):
        kept = {"finished": old.finished, "predecessor": old.predecessor}
        return result.model_copy(update=kept)
    report = next((each for each in old.dicom if each.kind in _REPORTS), None)
    before = [DicomDocument(**each.model_dump()) for each in (report, old.predecessor) if each]
    predecessor = next((each for each in before if each.sop_uid not in uids), None)
    return result.model_copy(update={"predecessor": predecessor})


def _uids(result: Result, source: Source) -> set[str]:
    from darnet_trt.runtime.delivery.identity import uid_of

    return {uid_of(kind, result, source) for kind in (*OBJECTS, REFUSAL)}


def _is_same(new: Result, old: Result, uids: Collection[str]) -> bool:
    """Return whether a result is the same answer about the same slices as an older one."""
    slices = new.content == old.content or any(each.sop_uid in uids for each in old.dicom)
    said, before = (each.model_dump(mode="json", include=_ANSWER) for each in (new, old))
    return slices and said == before and new.status != "failed"
