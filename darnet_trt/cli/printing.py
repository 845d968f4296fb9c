"""Lines for a person: notes and warnings on stderr, and text that a terminal only shows."""

from __future__ import annotations

import os

import typer

__all__ = ["is_quiet", "printable", "relative", "say", "set_quiet", "warn"]

_quiet = False


def set_quiet(wanted: bool) -> None:
    """Silence notes and progress from now on (-q), or show them."""
    global _quiet
    _quiet = wanted


def is_quiet() -> bool:
    """Return whether notes and progress are silenced."""
    return _quiet


def say(line: str) -> None:
    """Print a note on stderr unless -q was given."""
    if not _quiet:
        warn(line)


def warn(line: str) -> None:
    """Print a line on stderr, also with -q."""
    typer.echo(printable(line), err=True)


def printable(text: str) -> str:
    """Replace control characters, line breaks and bytes that are not UTF-8 by �.

    Names of files and texts of scans may hold any of them, and a terminal obeys some.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def relative(path: str) -> str:
    """Return the path relative to the current folder where it lies in it."""
    short = os.path.relpath(path)
    return path if short.startswith("..") else short
