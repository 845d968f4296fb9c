"""Write a report as one Markdown block, to be pasted."""

from __future__ import annotations

from darnet_trt.machine.files import as_text
from darnet_trt.runtime.bench.report.schema import BenchReport
from darnet_trt.runtime.bench.report.table import Table, machine, tables


def markdown(report: BenchReport) -> str:
    """Return the command, the tables of `tables`, and what else the machine did."""
    parts = [f"    {report.environment.command}"] * bool(report.environment.command)
    parts += [_block(table) for table in (*tables(report), machine(report))]
    return "\n\n".join(parts) + "\n"


def _block(table: Table) -> str:
    rows = [table.titles, ("---",) * len(table.titles), *table.rows]
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    before, after = ("  \n".join(map(_cell, text)) for text in (table.before, table.after))
    return "\n\n".join(part for part in (before, "\n".join(lines), after) if part)


def _cell(text: str) -> str:
    return as_text(text).replace("|", r"\|").replace("*", r"\*")
