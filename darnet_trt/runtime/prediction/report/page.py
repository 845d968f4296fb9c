"""Write the page: one file, nothing from elsewhere, and nothing that a name could turn into code.

The page holds the results twice: totals and the first rows as HTML, which show without scripts, and
all rows as JSON, from which its script draws a table that sorts, filters and pages. Its security
policy lets only this script run, by its hash, and loads nothing but pictures from where the page
itself lies.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

from darnet_trt.bundle.manifest import Manifest
from darnet_trt.errors import UsageError, counted
from darnet_trt.machine.files import whole_file
from darnet_trt.runtime.prediction.report import charts, engines
from darnet_trt.runtime.prediction.report.labels import Labelled
from darnet_trt.runtime.prediction.report.markup import html, shown
from darnet_trt.runtime.prediction.report.rows import Rows
from darnet_trt.runtime.prediction.report.summary import Summary
from darnet_trt.runtime.prediction.results.result import INTENDED_USE, Result

EMBEDDED: Final = 50
"""Overlays are part of the page up to this many results, and files beside it above."""

_FIRST: Final = 50  # rows without a script, and on a page of the table with it
_LARGEST: Final = 1 << 23  # bytes of an overlay; ours have some 500,000
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_START: Final = b"<!doctype html>"


@dataclass
class Page:
    """A page that results are added to.

    Args:
        folder: Where the results and overlays lie.
        path: Where the page will be.
        labelled: The labels to compare with.

    Raises:
        UsageError: `path` is a file that is no page.
    """

    folder: Path
    path: Path
    labelled: Labelled | None = None
    summary: Summary = field(default_factory=Summary)

    def __post_init__(self) -> None:
        _check_place(self.path)
        # Links lead from where the page's own links in the file system lead.
        self._rows = Rows(self.folder.resolve(), self.path.resolve().parent)
        self._first: list[dict[str, Any]] = []
        self._overlays: list[str] = []

    def add(self, results: Iterable[Result]) -> None:
        """Add results; they are not kept."""
        for result in results:
            label = self.labelled.add(result) if self.labelled else None
            self.summary.add(result)
            row = self._rows.add(result, label)
            if len(self._first) < _FIRST:
                self._first.append(row)
                self._overlays.append(result.overlay or "")

    def write(self, *, manifest: Manifest | None = None, private: bool = False) -> None:
        """Write the page, whole or not at all.

        Args:
            manifest: The bundle's, to list its engines.
            private: Let only the owner read it, as results with identifiers.

        Raises:
            OutputError: It cannot be written.
        """
        with whole_file(self.path, private=private) as file:
            for part in self._parts(manifest):
                file.write(part.encode())

    def _parts(self, manifest: Manifest | None) -> Iterator[str]:
        here = Path(__file__)
        style = here.with_name("page.css").read_text("utf-8")
        script = here.with_name("page.js").read_text("utf-8")
        policy = (
            f"default-src 'none'; img-src 'self' file: data:; style-src {_hash(style)}; "
            f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
        )
        title = f"Results: {shown(self.folder.resolve().name)}"
        yield _START.decode() + '\n<html lang="en"><head><meta charset="utf-8">'
        yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        yield '<meta name="referrer" content="no-referrer">'
        yield f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        yield f"<header><h1><bdi>{escape(title)}</bdi></h1>{self._notice()}</header><main>"
        yield from self._sections()
        if manifest is not None:
            yield engines.section(manifest)
        yield from self._table()
        if self.summary.total <= EMBEDDED:
            yield from self._gallery()
        yield '</main><script type="application/json" id="data">'
        yield self._rows.json()
        yield f"</script><script>{script}</script></body></html>\n"

    def _notice(self) -> str:
        uses = " ".join(map(html, self.summary.intended_use)) or INTENDED_USE
        return f'<p class="notice"><b>{uses}</b></p>'

    def _sections(self) -> Iterator[str]:
        found = self.summary
        yield charts.tiles(found) + charts.facts(found)
        if not found.total:
            yield "<p>There are no results yet.</p>"
            return
        if self.labelled is not None:
            yield self.labelled.section()
        if found.reasons:
            yield f"<section><h2>Not classified</h2>{charts.reasons(found)}</section>"
        if found.statuses["ok"]:
            yield f'<div class="two"><section><h2>Classes</h2>{charts.classes(found)}</section>'
            yield f"<section><h2>Confidence</h2>{charts.confidence(found)}</section></div>"
        if found.warnings:
            about = counted(found.warned, "study has", "studies have")
            yield f"<section><h2>Warnings</h2><p>{about} at least one.</p>"
            yield f"{charts.warnings(found)}</section>"
        yield f"<section><h2>Time</h2>{charts.stages(found)}</section>"
        over_time = found.throughput()
        if over_time is not None and found.total > 1:
            yield f"<section><h2>Throughput</h2>{charts.over_time(over_time)}</section>"

    def _table(self) -> Iterator[str]:
        if not self.summary.total:
            yield _CONTROLS_OF_NOTHING
            return
        yield '<section id="results"><h2 id="all">All results</h2>'
        labelled = self.labelled is not None
        yield _FORM.format(label=_LABEL_FILTER if labelled else "")
        rows = len(self._rows)
        left = f"The first {_FIRST} of {rows:,}; with scripts all." if rows > _FIRST else ""
        columns = [c for c in _COLUMNS if labelled or c[0] != "label"]
        yield '<div class="scroll" tabindex="0" role="region" aria-label="All results">'
        yield '<table id="table" aria-labelledby="all"><thead><tr>'
        for name, title, kind in columns:
            yield f'<th scope="col" data-sort="{name}" class="{kind}">{title}</th>'
        yield '</tr></thead><tbody id="rows">'
        for row in self._first:
            yield _row(row, labelled)
        yield f"</tbody></table></div><noscript><p>{left}</p></noscript>{_PAGES}</section>"

    def _gallery(self) -> Iterator[str]:
        pictures = [
            (place, row, picture)
            for place, (row, name) in enumerate(zip(self._first, self._overlays, strict=True))
            if row["overlay"] and (picture := _picture(self.folder / name))
        ]
        if not pictures:
            return
        yield f'<section id="overlays"><h2>Overlays</h2><p class="soft">{_ABOUT_OVERLAYS}</p>'
        yield '<div class="gallery">'
        for place, row, picture in pictures:
            alt = f"Activation map of {row['scan']} over the slices with most evidence"
            yield f'<figure id="overlay-{place}"><img alt="{escape(alt)}" '
            yield f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
            yield f"<figcaption>{html(row['scan'])}: <b>{html(row['class'])}</b>"
            yield f"{_truth(row)}</figcaption></figure>"
        yield "</div></section>"


_ABOUT_OVERLAYS: Final = (
    "Colour marks what spoke for the most probable class, strongest where it is brightest. Each "
    "cell of the map reads far around its centre: the map says roughly where the evidence lies, "
    "and never outlines a lesion. A normal scan has none to mark."
)

_COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("scan", "Scan", ""),
    ("result", "Result", ""),
    ("confidence", "Probability", "n"),
    ("label", "Label", ""),
    ("warnings", "Warnings", "wide"),
    ("total", "Time,\N{NO-BREAK SPACE}s", "n wide"),
    ("finished", "Finished, UTC", "n wide"),
)

_FORM: Final = (
    '<form id="filters" role="search" aria-label="Filter results" hidden>'
    '<label>Text<input name="text" type="search" autocomplete="off"></label>'
    '<label>Status<select name="status"><option value="">all</option></select></label>'
    '<label>Class<select name="class"><option value="">all</option></select></label>'
    '<label>Reason<select name="code"><option value="">all</option></select></label>'
    '<label>Warning<select name="warning"><option value="">all</option></select></label>{label}'
    '<button type="reset">Show all</button></form>'
)
_LABEL_FILTER: Final = (
    '<label>Label<select name="label"><option value="">all</option>'
    '<option value="right">same as the class</option>'
    '<option value="wrong">differs</option></select></label>'
)
_PAGES: Final = (
    '<div class="pages" id="pages" hidden><output id="count" aria-live="polite"></output>'
    '<button type="button" id="before">Previous</button>'
    '<button type="button" id="next">Next</button></div>'
)
_CONTROLS_OF_NOTHING: Final = (
    f'<section id="results">{_FORM.format(label="")}<table id="table" hidden>'
    f'<tbody id="rows"></tbody></table>{_PAGES}</section>'
)


def _row(row: dict[str, Any], labelled: bool) -> str:
    """Return a row of the table as the page's script draws it, without its details."""
    codes = [code for code, _ in row["warnings"]]
    if row["status"] == "ok":
        doubt = "undecided" in codes
        kind = "doubt" if doubt else ""
        result = html(row["class"]) + (" (undecided)" if doubt else "")
        probability = f"{dict(row['probabilities']).get(row['class'], 0.0):.3f}"
    else:
        kind, result, probability = row["status"], f"{row['status']}: {html(row['code'])}", ""
    label = ""
    if labelled:
        differs = row["label"] and row["label"] != row["class"]
        label = f"<td>{html(row['label'])}{' (differs)' if differs else ''}</td>"
    return (
        f'<tr><th scope="row">{html(row["scan"])}</th><td class="word {kind}">{result}</td>'
        f'<td class="n">{probability}</td>{label}'
        f'<td class="word wide">{html(", ".join(codes))}</td>'
        f'<td class="n wide">{row["total"] / 1000:.2f}</td>'
        f'<td class="n wide">{escape(row["finished"][:19].replace("T", " "))}</td></tr>'
    )


def _truth(row: dict[str, Any]) -> str:
    if not row["label"]:
        return ""
    kind = "right" if row["label"] == row["class"] else "wrong"
    return f' <span class="{kind}">(label: {html(row["label"])})</span>'


def _picture(path: Path) -> bytes:
    """Return an overlay's bytes; none where it is no picture, or far larger than ours."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError:
        return b""
    return content if content.startswith(_PNG) and len(content) <= _LARGEST else b""


def _hash(text: str) -> str:
    """Return a source of a Content-Security-Policy: what has this hash may be used."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _check_place(path: Path) -> None:
    """Refuse to overwrite what is no page: results, for one."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(len(_START))
    if start and start != _START:
        raise UsageError("is a file, and no page", where=path, do="choose another name with -o")
