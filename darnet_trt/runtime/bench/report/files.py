"""Write a report's folder: report.json, report.md, samples.csv and plots."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from darnet_trt.machine.files import as_text, whole_files
from darnet_trt.runtime.bench.report.markdown import markdown
from darnet_trt.runtime.bench.report.plots import plots
from darnet_trt.runtime.bench.report.schema import BenchReport
from darnet_trt.runtime.bench.subject import Trace

REPORT: Final = "report.json"
TEXTS: Final = (REPORT, "report.md", "samples.csv")
"""Names of the files that `write` makes, besides the plots."""
_COLUMNS: Final = ("configuration", "turn", "phase", "due_ns", "started_ns", "done_ns")


def as_json(report: BenchReport) -> str:
    """Return the report as JSON."""
    # json escapes names that are not UTF-8, at which model_dump_json fails
    return json.dumps(report.model_dump(mode="json"), indent=2)


def write(folder: Path, report: BenchReport, traces: Mapping[str, Trace]) -> None:
    """Write all files, or none of them.

    Args:
        folder: It exists.
        report: What was found.
        traces: All queries, by configuration.

    Raises:
        OutputError: The folder cannot be written.
    """
    texts = (as_json(report) + "\n", markdown(report), samples(traces))
    contents = {folder / name: text.encode() for name, text in zip(TEXTS, texts, strict=True)}
    contents |= {folder / name: content for name, content in plots(report).items()}
    whole_files(contents)


def samples(traces: Mapping[str, Trace]) -> str:
    """Return a CSV table with a row for each query, by configuration and time.

    `phase` is "warm-up" or "measured". The times are of one clock, whose zero means nothing.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for name, trace in traces.items():
        warm = [(query.started_ns, "warm-up", query) for query in trace.warm_up]
        measured = [(query.started_ns, "measured", query) for query in trace.queries]
        for _, phase, query in sorted(warm + measured):
            times = (query.due_ns, query.started_ns, query.done_ns)
            rows.writerow((as_text(name), query.turn, phase, *times))
    return text.getvalue()
