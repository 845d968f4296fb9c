"""HTML of texts that anybody may have written: names of files, DICOM attributes, reasons."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape
from typing import Final

_LONGEST: Final = 240  # characters; keeps a page of 10,000 results below 10 MB


def shown(text: str) -> str:
    """Return a text on one line, at most 240 characters, with nothing that steers its display.

    Control characters, bytes that are not UTF-8 and marks that turn the writing direction become
    �. Of a text that is too long the end is cut off.
    """
    plain = "".join(_plain(c) for c in text[:_LONGEST])
    return plain[:-1] + "…" if len(text) > _LONGEST else plain


def shown_path(path: str) -> str:
    """Return a path as `shown` does; of one that is too long the end is kept, which tells more."""
    return shown(path) if len(path) <= _LONGEST else "…" + shown(path[1 - _LONGEST :])


def _plain(character: str) -> str:
    if character.isprintable():
        return character
    space = character in "\t\n\r" or unicodedata.category(character) == "Zs"
    return " " if space else "\N{REPLACEMENT CHARACTER}"


def html(text: str) -> str:
    """Return a text as HTML that shows it, set apart from the writing direction around it."""
    return f"<bdi>{escape(shown(text))}</bdi>"


def bar(share: float, kind: str = "") -> str:
    """Return a bar that fills `share`, 0…1, of its place; the number beside it says the same.

    It is an SVG with attributes: the page's security policy allows no style attributes.
    """
    return (
        f'<svg class="bar {kind}" aria-hidden="true"><rect class="all" width="100%" height="100%"/>'
        f'<rect width="{100 * share:.1f}%" height="100%"/></svg>'
    )


def table(
    caption: str, titles: Iterable[str], rows: Iterable[Iterable[str]], numbers: int = 0
) -> str:
    """Return a table.

    Args:
        caption: What the table shows, as text.
        titles: HTML of the first row's cells; "" above bars.
        rows: HTML of the cells of each other row; the first one names the row.
        numbers: How many of the last columns are numbers, set to the right.
    """
    titles = list(titles)
    kinds = ["text"] * (len(titles) - numbers) + ["n"] * numbers
    head = "".join(
        f'<th scope="col" class="{kind}">{title}</th>' if title else "<td></td>"
        for title, kind in zip(titles, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{cell}</td>' if place else f'<th scope="row">{cell}</th>'
            for place, (cell, kind) in enumerate(zip(row, kinds, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def percent(part: int, whole: int) -> str:
    """Return "12.3 %"."""
    return f"{100 * part / whole:.1f}\N{NO-BREAK SPACE}%" if whole else "–"
