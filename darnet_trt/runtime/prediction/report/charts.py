"""The page's distributions, as tables with bars and one SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Final

from darnet_trt.errors import counted
from darnet_trt.runtime.prediction.report.markup import bar, html, percent, shown, table
from darnet_trt.runtime.prediction.report.summary import BINS, Summary, Throughput

_WORDS: Final = {
    "find": "find: list files, read headers, choose a series",
    "read": "read: decode the slices",
    "preprocess": "preprocess: lungs, window, resample",
    "infer": "infer: the engine",
    "total": "all stages",
}
_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def tiles(summary: Summary) -> str:
    """Return the numbers that one wants first."""
    numbers = [
        ("classified", summary.statuses["ok"], "ok", {"status": "ok"}),
        ("undecided", summary.undecided, "doubt", {"warning": "undecided"}),
        ("refused", summary.statuses["refused"], "refused", {"status": "refused"}),
        ("failed", summary.statuses["failed"], "failed", {"status": "failed"}),
    ]
    shown_tiles = "".join(
        f'<li class="{kind}"><a href="#results"{_filters(filters)}><b>{count:,}</b>'
        f"<span>{name}</span></a></li>"
        for name, count, kind, filters in numbers
    )
    total = (
        f'<li><a href="#results" data-all><b>{summary.total:,}</b>'
        f"<span>{'study' if summary.total == 1 else 'studies'}</span></a></li>"
    )
    return f'<ul class="tiles">{total}{shown_tiles}</ul>'


def _filters(filters: dict[str, str]) -> str:
    """Return the attributes of a link that shows these results alone."""
    return "".join(f' data-{name}="{escape(shown(value))}"' for name, value in filters.items())


def link(text: str, filters: dict[str, str]) -> str:
    """Return a link to the table of all results, which the script filters first."""
    return f'<a href="#results"{_filters(filters)}>{html(text or "(none)")}</a>'


def reasons(summary: Summary) -> str:
    """Return why scans were refused or failed."""
    rows = [
        [
            link(code, {"status": status, "code": code}),
            status,
            html(summary.sentences[code]),
            f"{count:,}",
        ]
        for (status, code), count in summary.reasons.most_common()
    ]
    caption = "Scans that were not classified, by the reason's code."
    titles = ["code", "status", "reason, of the first such scan", "scans"]
    return table(caption, titles, rows, 1)


def warnings(summary: Summary) -> str:
    """Return the warnings by their codes."""
    rows = [
        [link(code, {"warning": code}), html(summary.sentences[code]), f"{count:,}"]
        for code, count in summary.warnings.most_common()
    ]
    return table(
        "Scans with a warning, by its code.", ["code", "warning of the first one", "scans"], rows, 1
    )


def classes(summary: Summary) -> str:
    """Return how many scans are of each class."""
    whole = summary.classes.total()
    rows = [
        [
            link(name, {"class": name}),
            bar(count / whole if whole else 0),
            f"{count:,}",
            percent(count, whole),
        ]
        for name, count in summary.classes.items()
    ]
    caption = "Classified scans by their most probable class."
    return table(caption, ["class", "", "scans", "share"], rows, 2)


def confidence(summary: Summary) -> str:
    """Return how probable the classes were."""
    tenths = [t for t in range(BINS) if any(c[t] for c in summary.confidence.values())]
    most = max((max(c.values()) for c in summary.confidence.values()), default=1)
    names = list(summary.classes)
    rows = []
    for tenth in range(min(tenths), BINS) if tenths else ():
        counts = [summary.confidence.get(name, Counter())[tenth] for name in names]
        cells = [f"{bar(count / most)} {count:,}" for count in counts]
        rows.append([f"{tenth / BINS:.1f}–{(tenth + 1) / BINS:.1f}", *cells])
    caption = "Classified scans by the probability of their class."
    return table(caption, ["probability", *map(html, names)], rows, len(names))


def stages(summary: Summary) -> str:
    """Return how long the stages took, and which takes longest."""
    found = summary.stage_times()
    parts = [s for s in found if s.stage != "total"]
    if not parts:
        return '<p class="soft">No stage was timed.</p>'
    slowest = max(parts, key=lambda s: s.share)
    rows = [
        [
            _WORDS[s.stage],
            bar(s.share),
            f"{100 * s.share:.0f}\N{NO-BREAK SPACE}%",
            *(_milliseconds(t) for t in (s.median, s.p90, s.p99, s.most)),
        ]
        for s in found
    ]
    titles = ["stage", "", "share", "median", "90&nbsp;%", "99&nbsp;%", "longest"]
    caption = "Milliseconds for a scan, over the scans that reached the stage."
    return (
        f"<p>The bottleneck is <b>{_WORDS[slowest.stage]}</b>: {100 * slowest.share:.0f} % of "
        f'the time of all stages. <span class="soft">Stages of different scans run side by side, '
        f"so a run takes less than the sum.</span></p>{table(caption, titles, rows, 5)}"
    )


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def over_time(found: Throughput) -> str:
    """Return how many scans were finished when."""
    step = length(found.step)
    most = max(found.counts)
    width = 100 / len(found.counts)
    bars = "".join(
        f'<rect x="{i * width + 0.1 * width:.3f}%" width="{0.8 * width:.3f}%" '
        f'y="{100 - 100 * count / most:.2f}%" height="{100 * count / most:.2f}%">'
        f"<title>{time(found.start + i * found.step)}: {count:,}</title></rect>"
        for i, count in enumerate(found.counts)
    )
    rate = f"{found.an_hour:,.0f} studies an hour" if found.an_hour else ""
    if found.pauses:
        rate += f", {counted(found.pauses, 'pause')} left out"
    facts = [rate, f"{time(found.first)} to {time(found.last)} (UTC)"]
    said = f"{counted(most, 'study', 'studies')} at most" if len(bars) else ""
    return (
        f"<p>{'; '.join(filter(None, facts))}.</p>"
        f'<figure class="chart"><svg role="img" aria-label="Studies finished in each {step}: '
        f'{said}">{bars}</svg><figcaption class="ends"><span>{time(found.start)}</span>'
        f"<span>finished in each {step}; {most:,} at most</span>"
        f"<span>{time(found.start + len(found.counts) * found.step)}</span></figcaption></figure>"
    )


def length(seconds: int) -> str:
    """Return "30 seconds", "hour", "7 days"."""
    unit, name = next((u, n) for u, n in _UNITS if seconds % u == 0)
    count = seconds // unit
    return name if count == 1 else f"{count} {name}s"


def time(seconds: float) -> str:
    """Return a time in UTC, "2026-11-29 03:15:00"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def facts(summary: Summary) -> str:
    """Return engine, bundle, training and use: what a reader must know to take the numbers."""
    pairs: list[tuple[str, Iterable[str]]] = [
        ("Trained on", map(html, summary.trained_on)),
        (
            "Engine",
            (
                f"{html(artifact)}, {html(precision)}"
                + (f" ({counted(count, 'study', 'studies')})" if len(summary.engines) > 1 else "")
                for (_, artifact, precision), count in summary.engines.most_common()
            ),
        ),
        (
            "Bundle, SHA-256",
            (f"<code>{html(sha)}</code>" for sha in dict.fromkeys(e[0] for e in summary.engines)),
        ),
        ("Made by", (f"darnet-trt {html(version)}" for version in summary.toolkits)),
    ]
    listed = "".join(
        f"<div><dt>{name}</dt>{''.join(f'<dd>{v}</dd>' for v in values)}</div>"
        for name, values in pairs
    )
    return f'<dl class="facts">{listed}</dl>' if summary.total else ""
