"""Put the results of `predict` into a folder, or print them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darnet_trt.cli.printing import printable, warn
from darnet_trt.cli.progress import resumable
from darnet_trt.cli.streams import NoReader
from darnet_trt.errors import OutputError

if TYPE_CHECKING:
    from darnet_trt.runtime.prediction.results.folder import ResultFolder
    from darnet_trt.runtime.prediction.results.pseudonyms import Pseudonyms
    from darnet_trt.runtime.prediction.results.result import Result
    from darnet_trt.runtime.prediction.shards.shard import Shard


@dataclass(frozen=True)
class OutputOptions:
    """Holds what was asked for of the results.

    Attributes:
        out: The folder; None: stdout.
        cam: Whether overlays are drawn.
        as_json: Whether JSON lines go to stdout.
        resume: Whether the folder's results are continued.
        durable: Whether each result is on the disk before the next one comes.
        identifiers: Whether patients' fields are written as they are.
        pseudonym_key: File of the pseudonyms' key; None: the user's own.
        parquet: Whether a Parquet table is written.
        shard: Which part of the scans is classified; None: all.
    """

    out: Path | None
    cam: bool
    as_json: bool
    resume: bool
    durable: bool
    identifiers: bool
    pseudonym_key: Path | None
    parquet: bool
    shard: Shard | None


class Output:
    """Keeps results, or prints them.

    Args:
        options: What was asked for.
        folder: Where they are kept; None: only printed.
        pseudonyms: What hides patients' fields where nothing is kept; None: nothing does.

    Attributes:
        written: Called with each result that is kept, when its line is in the file.
        lost: Why stdout did not get all results; None where it did. Those that are kept are not
            lost with it, so the run goes on.
    """

    def __init__(
        self, options: OutputOptions, folder: ResultFolder | None, pseudonyms: Pseudonyms | None
    ) -> None:
        self.folder, self._options, self._pseudonyms = folder, options, pseudonyms
        self._as_json = options.as_json or (folder is None and not sys.stdout.isatty())
        self._drawn = self._objects = 0
        self.written: Callable[[Result], None] = lambda result: None
        self.lost: BaseException | None = None

    @property
    def told_on_stdout(self) -> bool:
        """Return whether a person reads the results themselves on a terminal."""
        return self.folder is None and sys.stdout.isatty()

    def earlier(self, key: str) -> Result | None:
        """Return the result that stands for a study."""
        return self.folder.result(key) if self.folder is not None else None

    def add(self, result: Result) -> Result:
        """Keep a result and draw its overlay, or print it; return it as it was written.

        Raises:
            OutputError: It cannot be written.
        """
        if result.evidence is not None and self.folder is not None:
            from darnet_trt.runtime.prediction.results.overlay import with_overlay

            result = with_overlay(result, result.evidence, self.folder)
            self._drawn += result.overlay is not None
        if self.folder is not None:
            result = self.folder.add(result)
            self.written(result)
            self._objects += len(result.dicom)
        elif self._pseudonyms is not None:
            result = self._pseudonyms.applied(result)
        if self._as_json:
            from darnet_trt.runtime.prediction.results.result import json_line

            self._print(json_line(result))
        elif self.folder is None:
            for text in summary(result):
                self._print(f"{printable(text)}\n")
        return result

    def _print(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except (OutputError, NoReader) as error:
            if self.folder is None:
                raise
            self.lost = error

    def where(self) -> str | None:
        """Return a line that says where the results are; None where they were printed."""
        if self.folder is None:
            return None
        from darnet_trt.runtime.prediction.results.lines import JSONL
        from darnet_trt.runtime.prediction.results.tables import CSV, PARQUET

        names = [str(self.folder.folder / CSV), JSONL]
        names += [PARQUET] if self._options.parquet else []
        names += [f"{self._drawn} overlay{'s' * (self._drawn != 1)}"] if self._drawn else []
        objects = f"{self._objects} DICOM object{'s' * (self._objects != 1)}"
        names += [objects] if self._objects else []
        return f"results: {', '.join(names)}"


@contextmanager
def opened(options: OutputOptions) -> Iterator[Output]:
    """Open the place of the results, and close it with all tables written.

    Raises:
        UsageError: The folder has results already, or is another's.
        OutputError: It cannot be written.
    """
    from darnet_trt.runtime.prediction.results.folder import ResultFolder
    from darnet_trt.runtime.prediction.results.pseudonyms import Pseudonyms
    from darnet_trt.runtime.prediction.shards.shard import marked

    if options.out is None:
        hides = not options.identifiers
        yield Output(options, None, Pseudonyms(options.pseudonym_key, warn) if hides else None)
        return
    again = "the same command" if options.resume else "the same command with --resume"
    with (
        resumable(again),
        ResultFolder(
            options.out,
            resume=options.resume,
            durable=options.durable,
            identifiers=options.identifiers,
            pseudonym_key=options.pseudonym_key,
            parquet=options.parquet,
            notify=warn,
        ) as folder,
        marked(options.out, options.shard),
    ):
        yield Output(options, folder, None)


def summary(result: Result) -> list[str]:
    """Return lines for a person: the classes, why this series and the time; then the warnings."""
    from darnet_trt.runtime.prediction.results.result import percentages, undecided

    if result.status != "ok":
        return [f"{result.scan}: {result.status}: {result.reason}", *map(_warning, result.warnings)]
    best, *others = percentages(result.probabilities)
    doubt = undecided(result.probabilities)
    parts = [doubt or f"{best} ({', '.join(others)})"]
    parts += [result.series.why] if result.series else []
    parts += ["replaces an earlier result"] if result.replaces else []
    warnings = [_warning(warning) for warning in result.warnings if warning != doubt]
    return [f"{result.scan}: {'; '.join(parts)} ({result.stages_ms.total / 1000:.2f} s)", *warnings]


def _warning(text: str) -> str:
    return f"    ! {text}"
