"""Write and print the report of `bench`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from darnet_trt.cli.printing import print_line, print_table, say, warn
from darnet_trt.cli.signals import Handlers, handled

if TYPE_CHECKING:
    from darnet_trt.runtime.bench.report.schema import BenchReport
    from darnet_trt.runtime.bench.subject import Trace


class Measured(Protocol):
    """A `Benchmark`, or the run of another scenario."""

    traces: dict[str, Trace]

    @property
    def has_measured(self) -> bool:
        """Return whether there is something to report."""
        ...

    def measure(self, *, seconds: float | None, rounds: int | None) -> None:
        """Measure everything."""
        ...

    def report(self, *, interrupted: bool = False) -> BenchReport:
        """Return what was measured so far."""
        ...


def measure(
    measured: Measured,
    out: Path | None,
    as_json: bool,
    *,
    seconds: float | None,
    rounds: int | None,
) -> BenchReport:
    """Measure, and publish the report; where something ends it, what was measured until then.

    Ctrl-C while the report is written has no effect; SIGTERM ends it.
    """

    def interrupted(number: int, before: Handlers) -> None:
        if measured.has_measured:  # another Ctrl-C must not come before the report is written
            signal.signal(number, _ignore)
        raise KeyboardInterrupt

    try:
        with handled(("SIGINT",), interrupted):
            measured.measure(seconds=seconds, rounds=rounds)
    except BaseException:  # Ctrl-C too, or a signal that ends the process
        if measured.has_measured:
            _publish(measured, out, as_json, interrupted=True)
        raise
    return _publish(measured, out, as_json)


def _ignore(number: int, _: object) -> None:
    """Handle a signal by doing nothing."""


@contextmanager
def folder(out: Path | None) -> Iterator[None]:
    """Check before long work that the report can be written into the folder, and lock it."""
    if out is None:
        yield
        return
    from darnet_trt.cli.output_folder import refuse_bundle_or_cohort
    from darnet_trt.errors import UsageError
    from darnet_trt.evaluation.pictures import need_matplotlib
    from darnet_trt.machine.files import sole_writer
    from darnet_trt.runtime.bench.report.files import TEXTS
    from darnet_trt.runtime.bench.report.plots import FORMATS

    if out.suffix == ".json":
        raise UsageError(
            "names a file, and bench writes a folder",
            where=out,
            do="name a folder, which gets report.json, or use --json > FILE",
        )
    refuse_bundle_or_cohort(out)
    if out.is_dir():
        for file in sorted(out.iterdir()):
            if file.name in TEXTS or file.suffix[1:] in FORMATS:
                raise UsageError(
                    f"holds {file.name} already", where=out, do="choose another folder"
                )
    need_matplotlib()
    with sole_writer(out):
        yield


def _publish(
    measured: Measured, out: Path | None, as_json: bool, *, interrupted: bool = False
) -> BenchReport:
    """Write the report and print it; neither is lost where the other fails."""
    with handled(("SIGINT",), _ignore):
        from darnet_trt.runtime.bench.report import files
        from darnet_trt.runtime.bench.report.table import untrusted

        report = measured.report(interrupted=interrupted)
        try:
            if out is not None:
                files.write(out, report, measured.traces)
                say(f"the report is in {out}")
        finally:
            if as_json:
                typer.echo(files.as_json(report))
                for line in untrusted(report):
                    warn(f"warning: {line}")
            else:
                _show(report)
        return report


def _show(report: BenchReport) -> None:
    from darnet_trt.runtime.bench.report.table import tables

    for index, table in enumerate(tables(report)):
        if index:
            print_line()
        for line in table.before:
            print_line(line)
        print_table(table.titles, table.rows)
        for line in table.after:
            print_line(line)
    if report.scan is None and report.scenario == "single-stream":
        print_line("give --scan PATH for file to result, start-up and memory")
