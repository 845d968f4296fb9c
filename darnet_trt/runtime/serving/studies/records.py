"""What stands for each study: its results, its evidence, its ledger, and what is sent of them.

They are written in this order, and the ledger is what counts: where a crash comes before it, the
next start makes the same results again, and nothing is sent twice.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from typing import Final

from darnet_trt.machine.files import cannot_write, remove_left_over
from darnet_trt.runtime.prediction.history.history import TRANSIENT
from darnet_trt.runtime.prediction.results.folder import ResultFolder
from darnet_trt.runtime.prediction.results.result import Result
from darnet_trt.runtime.serving.settings import Settings
from darnet_trt.runtime.serving.studies.evidence import KeptEvidence
from darnet_trt.runtime.serving.studies.fates import settled
from darnet_trt.runtime.serving.studies.job import Job
from darnet_trt.runtime.serving.studies.ledger import Ledgers, Summary, digest_of
from darnet_trt.runtime.serving.studies.sending import Sending

LEAST_DEAD: Final = 1000
"""Lines of results that stand no longer, before which `results.jsonl` is not written anew."""


class Records:
    """The records of all studies, used from several threads.

    Args:
        settings: Of the service.
        notify: Called with a line on what is unusual.

    Raises:
        UsageError: Another process uses the state folder, or its results have patients' fields in
            the other form.
        OutputError: It cannot be written.
    """

    def __init__(self, settings: Settings, notify: Callable[[str], None]) -> None:
        state = settings.state
        self._lock = threading.RLock()
        self._dead = 0
        self._unlisted: dict[str, set[str]] = defaultdict(set)  # study → keys that no ledger has
        with ExitStack() as opened:
            try:
                for name in ("ledgers", "evidence"):
                    (state / name).mkdir(mode=0o700, parents=True, exist_ok=True)
                    remove_left_over(state / name, lambda name: True)
            except OSError as error:
                raise cannot_write(state, error) from error
            self.ledgers = Ledgers(state / "ledgers")
            self.evidence = KeptEvidence(state / "evidence")
            self._results = opened.enter_context(
                ResultFolder(
                    state / "results",
                    resume=True,
                    durable=True,
                    identifiers=settings.identifiers,
                    notify=notify,
                )
            )
            self.sending = opened.enter_context(Sending(self._results, settings, notify))
            self._opened = opened.pop_all()

    def tidy(self, finished: Collection[str], unfinished: Collection[str]) -> None:
        """Remove what a crash left: of studies that are gone, and results that stand no longer.

        Args:
            finished: The studies whose ledgers list all files.
            unfinished: Those that get new results, in place of all that they have.
        """
        with self._lock:
            for study in self.ledgers.studies() | self.evidence.studies():
                if study not in finished and study not in unfinished:
                    self.ledgers.remove(study)
                    self.evidence.remove(study)
            stale = []
            for result in self._results.results():
                study = result.scan
                if study in unfinished:
                    self._unlisted[study].add(result.key)
                elif study not in finished or result.key not in self._keys(study):
                    stale.append(result.key)
            self._drop(stale)

    def finished(self, study: str, files: Iterable[str]) -> Summary | None:
        """Return what a study came to, where its results stand for all of some files.

        One that failed for a reason that may pass does not; nor does one beside which an older
        result could not be dropped.
        """
        summary = self.ledgers.summary(study)
        if summary is None or summary.files != digest_of(files):
            return None
        with self._lock:
            if study in self._unlisted:
                return None
            found = [self._results.standing(key) for key in summary.keys]
        stand = all(each is not None and each.code not in TRANSIENT for each in found)
        return summary if stand else None

    def _keys(self, study: str) -> tuple[str, ...]:
        summary = self.ledgers.summary(study)
        return summary.keys if summary else ()

    def result(self, key: str) -> Result | None:
        """Return the result that stands for a key."""
        with self._lock:
            return self._results.result(key)

    def results(self, summary: Summary) -> tuple[Result, ...]:
        """Return the standing results of a study."""
        with self._lock:
            return tuple(filter(None, map(self._results.result, summary.keys)))

    def object(self, result: Result, kind: str) -> bytes | None:
        """Return a DICOM object of a result; None where it has none of that kind."""
        with self._lock:
            for each in result.dicom:
                if each.kind == kind:
                    try:
                        return (self._results.folder / each.file).read_bytes()
                    except OSError:
                        return None
        return None

    def commit(self, job: Job, times: tuple[float, float]) -> Summary:
        """Let the results of a job stand, in place of the study's old ones.

        Args:
            job: With all its results.
            times: When the study's first file came and its last one, in seconds since 1970.

        Raises:
            OutputError: The disk is full. What stood before stands.
        """
        with self._lock:
            before = self._unlisted[job.study] | {*self._keys(job.study)}
            written = []
            for key, result, first in job.results:
                self._unlisted[job.study].add(result.key)
                written.append((key, self._results.add(result), first))
        shown = next((r.evidence for _, r, _ in job.results if r.evidence is not None), None)
        self.evidence.write(job.study, shown)
        keys = [result.key for _, result, _ in written]
        instances = settled(job.notes, job.files, written)
        summary = self.ledgers.write(job.study, instances, keys, times)
        with self._lock:
            self._unlisted[job.study] = before.difference(keys)
            for _, result, _ in written:
                self.sending.add(result)
            self._drop(self._unlisted[job.study])
            del self._unlisted[job.study]
            self._dead += len(keys)
        return summary

    def forget(self, study: str, remove: Callable[[], bool]) -> bool:
        """Remove a study.

        Args:
            study: Its name.
            remove: Removes its files first, and returns whether it did; what is left after a crash
                is removed at the next start.
        """
        with self._lock:
            keys = self._keys(study)
            if not remove():
                return False
            self.ledgers.remove(study)
            self.evidence.remove(study)
            self._drop({*keys, *self._unlisted.pop(study, ())})
        return True

    def send(self) -> None:
        """Begin to send results, or begin again where that has ended."""
        with self._lock:
            self.sending.begin()

    def compact(self) -> None:
        """Write the results anew where most of the lines stand no longer."""
        with self._lock:
            if self._dead > max(LEAST_DEAD, len(self._results)):
                self._results.compact()
                self._dead = 0

    def close(self) -> None:
        """Close all of it, with the tables written."""
        with self._lock:
            self._opened.close()

    def _drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.sending.drop(key)
            self._results.drop([key])
            self._dead += 1
