"""Lines for a person: results on stdout, notes and warnings on stderr; none steers a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDTH: Final = 128  # of the longest row of `build`, where the output is not a terminal

quiet = False  # whether -q silences notes and progress


def say(line: str) -> None:
    """Print a note on stderr unless -q was given."""
    if not quiet:
        warn(line)


def warn(line: str) -> None:
    """Print a line on stderr, also with -q."""
    typer.echo(printable(line), err=True)


def print_line(line: str = "") -> None:
    """Print a line on stdout."""
    typer.echo(printable(line))


def print_table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table on stdout, wide enough for its longest row."""
    from rich.console import Console
    from rich.table import Column, Table

    first, *others = titles
    table = Table(Column(first, overflow="fold"), *others, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(printable, row))
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(console.width, _WIDTH)
    print_rich(console, table)


def print_rich(console: Console, what: RenderableType) -> None:
    """Print what rich renders on stdout, without the blanks that fill its lines."""
    with console.capture() as captured:
        console.print(what)
    # By the same way as lines: `typer.echo` wraps an ASCII stdout, and flushes what it wraps.
    lines = (f"{line.rstrip()}\n" for line in captured.get().split("\n")[:-1])
    typer.echo("".join(lines), nl=False)


def printable(text: str) -> str:
    """Replace control characters, line breaks and bytes that are not UTF-8 by �.

    Names of files and texts of scans may hold any of them, and a terminal obeys some.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def relative(path: str) -> str:
    """Return the path relative to the current folder where it lies in it."""
    short = os.path.relpath(path)
    return path if short.startswith("..") else short
