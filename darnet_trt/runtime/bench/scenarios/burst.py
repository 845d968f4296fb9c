"""Replay a scanner that sends a series, slice by slice, to the service; time its result.

The service is `serve`'s own, in this process: a DICOM association to its door on loopback, its
store on the disk, its wait for the end of the study, reading, engine. The latency is that from when
the last slice was due to the result: what the user at the scanner waits.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from darnet_trt.errors import (
    Finding,
    InternalError,
    OutputError,
    ScanError,
    UnreadableScanError,
    UsageError,
    no_such_path,
)
from darnet_trt.runtime.bench.part import Part, Rounded
from darnet_trt.runtime.bench.subject import Query, Trace

if TYPE_CHECKING:
    from pydicom import Dataset

    from darnet_trt.runtime.serving.settings import Settings

SLICES_PER_S: Final = 40.0
"""What a scanner reconstructs and sends: a chest of 300 slices in 7.5 s. Judgement."""

_POLL_S: Final = 0.005
_ANSWER_S: Final = 600.0
"""A result that takes longer never comes."""


class BurstResult(Part):
    """What a scanner's series gave. The parts of the latency are medians.

    Attributes:
        slices: Of the series.
        slices_per_s: At which they were due.
        quiet_s: How long the service waits for more slices.
        shortest_quiet_s: The least that it waits where the study's own numbers say that nothing is
            missing: a quarter of `quiet_s`, but no less than this.
        behind_ms: From when the last slice was due until it was stored. Much means that the door,
            or the sender, is slower than the scanner.
        quiet_ms: From then until the service took the study as complete.
        work_ms: From then to the result.
    """

    slices: int
    slices_per_s: float
    quiet_s: float
    shortest_quiet_s: float
    behind_ms: Rounded
    quiet_ms: Rounded
    work_ms: Rounded


class Burst:
    """A service of its own and a scanner's series for it; close it in the end.

    Args:
        settings: Of the service, with a DICOM door on loopback that takes anybody; its state folder
            keeps each replay.
        scan: The folder of the series, for errors.
        slices: From `read_series`; their UIDs are replaced.
        slices_per_s: The scanner's pace.

    Raises:
        DarnetError: The service cannot start.
    """

    def __init__(
        self,
        settings: Settings,
        scan: Path,
        slices: Sequence[Dataset],
        *,
        slices_per_s: float = SLICES_PER_S,
    ) -> None:
        from darnet_trt.runtime.serving.service import Service

        self._settings, self._scan, self._pace = settings, scan, slices_per_s
        self._slices = slices
        self._stored_ns: list[int] = []
        self._opened = ExitStack()
        self._service = Service(settings, lambda line: None)
        self._opened.callback(self._service.close)
        try:
            self._service.start()
        except BaseException:
            self._opened.close()
            raise

    def replay(self, turn: int = 0) -> Query:
        """Send the series as a new study, and wait for its result.

        Returns:
            Due when the last slice was, started when the service took the study as complete, done
            with the result.

        Raises:
            ScanError: The study was refused.
            OutputError: The service has no room for a slice.
            InternalError: There is no result after ten minutes.
        """
        from pydicom.uid import generate_uid

        from darnet_trt.runtime.serving.intake.names import study_of_uid

        study, series = generate_uid(), generate_uid()
        for one in self._slices:
            one.StudyInstanceUID, one.SeriesInstanceUID = study, series
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        due_ns, stored_ns = self._send()
        complete_ns, done_ns = self._answered(study_of_uid(study))
        self._stored_ns.append(stored_ns)
        return Query(turn, due_ns, complete_ns, done_ns)

    def close(self) -> None:
        """End the service."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def result(self, trace: Trace) -> BurstResult:
        """Return what the trace of all replays shows; it has one at least."""
        parts = [
            (stored_ns - one.due_ns, one.started_ns - stored_ns, one.done_ns - one.started_ns)
            for stored_ns, one in zip(self._stored_ns, trace.queries, strict=False)
        ]
        behind_ms, quiet_ms, work_ms = (np.median(parts, axis=0) / 1e6).tolist()
        return BurstResult(
            slices=len(self._slices),
            slices_per_s=self._pace,
            quiet_s=self._settings.quiet_s,
            shortest_quiet_s=self._settings.shortest_quiet_s,
            behind_ms=behind_ms,
            quiet_ms=quiet_ms,
            work_ms=work_ms,
        )

    def _send(self) -> tuple[int, int]:
        """Send all slices; return when the last was due, and when it was stored."""
        association = self._associate()
        begin_ns = due_ns = time.perf_counter_ns()
        try:
            for number, one in enumerate(self._slices):
                due_ns = begin_ns + round(number / self._pace * 1e9)
                time.sleep(max(due_ns - time.perf_counter_ns(), 0) / 1e9)
                status = association.send_c_store(one).get("Status")
                if status != 0:
                    said = "no answer" if status is None else f"status 0x{status:04X}"
                    raise OutputError(
                        f"the service did not store a slice ({said})", where=self._settings.state
                    )
            return due_ns, time.perf_counter_ns()
        finally:
            association.release()

    def _associate(self) -> Any:
        from pynetdicom import AE

        from darnet_trt.runtime.delivery.peers.checkpoint import keep_answers

        door, first = self._service.dicom, self._slices[0]
        assert door is not None, "the settings have a DICOM door"
        ours = AE()
        ours.add_requested_context(first.SOPClassUID, first.file_meta.TransferSyntaxUID)
        association = ours.associate("127.0.0.1", door.port)
        if not association.is_established:
            raise UsageError("the service takes no association", do="let anybody send on loopback")
        keep_answers(association)
        # Otherwise Nagle's algorithm keeps the end of each slice until an acknowledgement comes.
        association.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return association

    def _answered(self, study: str) -> tuple[int, int]:
        """Wait for a study's result; return when it was complete, and when the result was there."""
        until = time.monotonic() + _ANSWER_S
        complete_ns = None
        while time.monotonic() < until:
            view = self._service.studies.view(study)
            now_ns = time.perf_counter_ns()
            if view is None or view.state == "receiving":  # again, where it looked for slices
                complete_ns = None
            elif complete_ns is None:
                complete_ns = now_ns
            if view is not None and view.state == "done":
                for result in view.results:
                    if result.status != "ok":
                        what = Finding(result.code, f"{result.status}: {result.reason}")
                        raise ScanError(what, where=self._scan)
                return complete_ns or now_ns, now_ns
            time.sleep(_POLL_S)
        late = TimeoutError(f"the service gave no result within {_ANSWER_S:.0f} s")
        raise InternalError(late, where=self._scan)


def read_series(scan: Path) -> list[Dataset]:
    """Read the slices of a series, in their order.

    Args:
        scan: A folder of the slices of one series, all in one transfer syntax.

    Raises:
        UsageError: The folder holds no slices, or those of several series.
        UnreadableScanError: A file cannot be read as DICOM.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    do = "name a folder of one DICOM series"
    if not scan.exists():
        raise no_such_path(scan)
    if not scan.is_dir():
        raise UsageError("is a file", where=scan, do=do)
    found = []
    for file in sorted(scan.iterdir()):
        if file.is_dir():
            raise UsageError(f"holds the folder {file.name}", where=scan, do=do)
        try:
            found.append(dcmread(file))
        except (InvalidDicomError, OSError) as error:
            what = Finding("broken-dicom", f"cannot be read as DICOM; {do}")
            raise UnreadableScanError(what, where=file) from error
    series = {one.get("SeriesInstanceUID") for one in found}
    if len(series) != 1:
        holds = f"{len(series)} series" if series else "no slices"
        raise UsageError(f"it holds {holds}", where=scan, do=do)
    return sorted(found, key=lambda one: int(one.get("InstanceNumber") or 0))
