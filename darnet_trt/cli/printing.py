"""Lines for a person: text that a terminal only shows, and stderr that may fail."""

from __future__ import annotations

import os
from contextlib import suppress

import typer

__all__ = ["printable", "relative", "say"]


def printable(text: str) -> str:
    """Replace control characters, line breaks and bytes that are not UTF-8 by �.

    Names of files and texts of scans may hold any of them, and a terminal obeys some.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def say(line: str) -> None:
    """Print a line on stderr; where that fails (full, closed), go on without."""
    with suppress(OSError):
        typer.echo(printable(line), err=True)


def relative(path: str) -> str:
    """Return the path relative to the current folder where it lies in it."""
    short = os.path.relpath(path)
    return path if short.startswith("..") else short
