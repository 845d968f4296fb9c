"""Keep what an upload brings, while it comes; runs in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from darnet_trt.errors import BusyError, Finding, ScanError, UsageError
from darnet_trt.machine.archives import LARGEST_FILE
from darnet_trt.runtime.serving.http.multipart import media_type, parts
from darnet_trt.runtime.serving.intake.volumes import SNIFFED
from darnet_trt.runtime.serving.network.budget import Budget
from darnet_trt.scan.discovery.kinds import kind_of

if TYPE_CHECKING:
    from darnet_trt.runtime.serving.intake.store import Received, Store
    from darnet_trt.runtime.serving.telemetry.metrics import Metrics

PEER: Final = "http"
"""Who sends, for the store: nobody with a title."""
_MOST: Final = 64  # uploads at once: each holds a thread
_CROWDED: Final = Finding("uploads", f"{_MOST} uploads are under way")
_DISK_FULL: Final = Finding("disk", "the disk is nearly full")
_AGAIN_S: Final = 5.0
_FULL_S: Final = 60.0

_Taken = TypeVar("_Taken")


@dataclass
class Upload:
    """What became of an upload's files.

    Attributes:
        received: Those that are on the disk.
        ignored: Kind → how many hold no scan.
        refused: Of each that cannot be used, its name and why.
        digest: Of all bytes of its files.
    """

    received: list[Received] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[str, str]] = field(default_factory=list)
    digest: str = ""


class Threads:
    """The threads of uploads: so many, and none waits for one.

    Args:
        metrics: Counts who is refused.

    Attributes:
        busy: How many are at work.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.busy = 0
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(_MOST, thread_name_prefix="upload")

    async def run(self, work: Callable[[], _Taken]) -> _Taken:
        """Do work in a thread.

        Raises:
            BusyError: None is free, or the work's own.
        """
        if self.busy == _MOST:
            self._metrics.refused(_CROWDED.code)
            raise BusyError(_CROWDED, retry_after_s=_AGAIN_S)
        self.busy += 1
        done = asyncio.get_running_loop().run_in_executor(self._pool, work)
        done.add_done_callback(self._free)
        try:
            return await asyncio.shield(done)
        except BusyError as busy:
            self._metrics.refused(busy.code or "upload")
            raise

    def _free(self, done: asyncio.Future[Any]) -> None:
        self.busy -= 1
        if not done.cancelled():
            done.exception()  # whoever waited may have gone


def keep_upload(
    store: Store, pieces: Iterator[bytes], content_type: str, files: int, budget: Budget
) -> Upload:
    """Keep the files of a body: one, or those of multipart/form-data.

    Args:
        store: Where.
        pieces: The body.
        content_type: Its Content-Type.
        files: Most parts.
        budget: For files that are held in memory.

    Raises:
        UsageError: It is malformed, or nothing in it can be classified.
        ScanError: Its only file cannot be used.
        BusyError: There is no room now.
        OutputError: The disk fails.
    """
    upload, digest = Upload(), hashlib.sha256()
    kind, boundary = media_type(content_type)
    if kind != "multipart/form-data":
        _keep_file(store, _hashed(pieces, digest), upload, budget)
    else:
        for number, (name, content) in enumerate(_files(pieces, boundary)):
            if number == files:
                raise UsageError(f"the upload has more than {files:,} files")
            try:
                _keep_file(store, _hashed(content, digest), upload, budget)
            except ScanError as error:
                upload.refused.append((name, str(error.what)))
    upload.digest = digest.hexdigest()
    if not upload.received:
        reasons = [f"{name}: {why}" for name, why in upload.refused[:1]]
        reasons += [f"{count} of kind {kind}" for kind, count in upload.ignored.items()][:3]
        what = "; ".join(reasons) or "it holds no file"
        raise UsageError(f"nothing in the upload can be classified ({what})")
    return upload


def digest_upload(pieces: Iterator[bytes], content_type: str) -> str:
    """Return the digest of an upload of which nothing is kept.

    Raises:
        UsageError: It is malformed.
    """
    digest = hashlib.sha256()
    kind, boundary = media_type(content_type)
    whole = (("", pieces),) if kind != "multipart/form-data" else _files(pieces, boundary)
    for _, content in whole:
        for _ in _hashed(content, digest):
            pass
    return digest.hexdigest()


@contextmanager
def whole_file(pieces: Iterable[bytes], budget: Budget) -> Iterator[bytes]:
    """Give a DICOM file that comes, whole: the store reads it in memory.

    Raises:
        UsageError: It is larger than any that is read.
        BusyError: There is no memory for it now.
    """
    with ExitStack() as held:
        content = bytearray()
        for piece in pieces:
            if len(content) + len(piece) > LARGEST_FILE:
                raise UsageError(f"a DICOM file has more than {LARGEST_FILE:,} bytes")
            held.enter_context(budget.taken(len(piece)))
            content += piece
        yield bytes(content)


def _files(pieces: Iterator[bytes], boundary: bytes) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield name and content of each file of a form; other fields are skipped."""
    for part in parts(pieces, boundary):
        if part.filename is not None:
            yield part.filename, part.pieces


def _hashed(pieces: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    """Yield pieces, and add the hash of all of them to a digest."""
    own = hashlib.sha256()
    for piece in pieces:
        own.update(piece)
        yield piece
    digest.update(own.digest())


def _keep_file(store: Store, pieces: Iterator[bytes], upload: Upload, budget: Budget) -> None:
    start = b""
    while len(start) < SNIFFED and (piece := next(pieces, b"")):
        start += piece
    content = itertools.chain((start,), pieces)
    kind = kind_of(start[:SNIFFED])
    if kind == "dicom":
        with whole_file(content, budget) as whole:
            upload.received.append(store.receive(whole, peer=PEER))
    elif kind == "zip":
        with store.temporary() as (file, path):
            for piece in content:
                if store.free() < len(piece):
                    raise BusyError(_DISK_FULL, retry_after_s=_FULL_S)
                file.write(piece)
            file.flush()
            unzipped = store.unzip(path, peer=PEER)
        upload.received += unzipped.received
        upload.ignored.update(unzipped.ignored)
        upload.refused += unzipped.refused
    else:
        upload.received.append(store.keep_volume(content, peer=PEER))
