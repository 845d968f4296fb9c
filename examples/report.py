"""The demo's report: one HTML page with everything in it, pictures included."""

from __future__ import annotations

import base64
import csv
import json
from collections import Counter
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["Report", "write_report"]

_STYLE = """
:root { --ink:#1b2430; --soft:#5b6776; --line:#dfe4ea; --good:#1a7f4b; --bad:#b3372f;
        --bar:#3d6fb4 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 62rem;
       margin: 2rem auto; padding: 0 1.2rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
p { margin: .5rem 0 } .soft { color: var(--soft) }
.notice { border-left: 4px solid var(--bad); padding: .4rem .9rem; margin: 1rem 0;
          background: #fbf1f0 }
table { border-collapse: collapse; margin: .4rem 0 } caption { text-align: left;
        color: var(--soft); caption-side: bottom; padding-top: .3rem }
th, td { padding: .28rem .8rem; border-bottom: 1px solid var(--line); text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
td.hit { font-weight: 600; color: var(--good) }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .9rem 1rem;
        margin: 0 0 1rem; break-inside: avoid }
.card h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere }
.card img { width: 100%; height: auto; margin-top: .6rem; display: block }
.right { color: var(--good) } .wrong { color: var(--bad) }
.p { display: grid; grid-template-columns: 10rem 1fr 4rem; gap: .1rem .7rem; max-width: 32rem }
.p i { background: linear-gradient(var(--bar) 0 0) no-repeat left / var(--w) 100%, #eef1f5;
       height: .7rem; align-self: center; border-radius: 2px }
ul { margin: .3rem 0; padding-left: 1.2rem } code { font-size: .92em }
.scroll { overflow-x: auto }
@media (max-width: 40rem) { .p { grid-template-columns: 8rem 1fr 3.4rem } }
"""


@dataclass(frozen=True)
class Report:
    """The page, its message in one line, and the share of phantoms classified right."""

    path: Path
    summary: str
    share_right: float


def write_report(out: Path, *, seconds: float) -> Report:
    """Write `out/report.html` from what the demo's commands left in `out`."""
    manifest = json.loads((out / "bundle" / "manifest.json").read_text())
    truth = _labels(out / "held-back")
    held_back = _results(out / "predictions")
    yours = _results(out / "yours")
    labelled = [(truth.get(Path(r["scan"])), r) for r in held_back]
    right = sum(label == r["class"] for label, r in labelled)
    summary = f"{right} of {len(labelled)} held-back phantoms classified correctly."
    shown = [_one_of_each(labelled, name) for name in manifest["classes"]]

    body = [
        "<h1>darnet-trt demo</h1>",
        f'<p class="soft">Synthetic cohort to checked engine in {seconds / 60:.1f} minutes.</p>',
        f'<p class="notice"><b>{escape(manifest["intended_use"])}</b> The weights were trained on '
        f"{escape(manifest['model']['trained_on'])}.</p>",
        "<h2>Held-back phantoms</h2>",
        f"<p>{summary} No patient among them was seen in training.</p>",
        _confusion(labelled, manifest["classes"]),
    ]
    if yours:
        body.append("<h2>Your scans</h2>")
        body.append(
            '<p class="soft">A network that has only seen phantoms cannot diagnose them: this '
            "shows that they are read, chosen or refused as they should be.</p>"
        )
        body += [_card(r, out / "yours", None) for r in yours]
    body.append("<h2>One phantom of each class</h2>")
    body.append(
        '<p class="soft">Colour marks what spoke for the predicted class, strongest where it is '
        f"brightest. The demo's network sees {_sizes(manifest)} cells, and each reads "
        "far around its centre: the map says roughly where the evidence lies, is partly alike for "
        "all scans of a class, and never outlines a lesion. &ldquo;Normal&rdquo; has none to "
        "mark.</p>"
    )
    body += [_card(r, out / "predictions", label) for label, r in filter(None, shown)]
    body.append("<h2>Engines in the bundle</h2>")
    body.append(_engines(manifest))
    body += _int8(manifest, _sides(out / "run"))
    body.append("<h2>Every held-back phantom</h2>")
    body.append(_listing(labelled))
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>darnet-trt demo</title><style>{_STYLE}</style>{''.join(body)}</html>\n"
    )
    path = out / "report.html"
    path.write_text(page, encoding="utf-8")
    return Report(path, summary, right / len(labelled))


def _labels(cohort: Path) -> dict[Path, str]:
    with (cohort / "cohort.csv").open(newline="") as file:
        return {(cohort / row["scan"]).resolve(): row["label"] for row in csv.DictReader(file)}


def _sides(run: Path) -> list[str]:
    """Return of each scan of the cohort whether it trained the network or was held out."""
    with (run / "split.csv").open(newline="") as file:
        return [row["side"] for row in csv.DictReader(file)]


def _results(folder: Path) -> list[dict[str, Any]]:
    lines = folder / "results.jsonl"
    return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []


def _one_of_each(
    labelled: list[tuple[str | None, dict[str, Any]]], name: str
) -> tuple[str | None, dict[str, Any]] | None:
    """The first scan of a class, a correctly classified one where there is one."""
    of_class = [(label, r) for label, r in labelled if label == name]
    return next((pair for pair in of_class if pair[1]["class"] == name), next(iter(of_class), None))


def _sizes(manifest: dict[str, Any]) -> str:
    """The network's input and its map, which is an eighth as deep and a sixteenth as wide."""
    seen: list[int] = manifest["preprocessing"]["size"]
    cells = [-(-n // stride) for n, stride in zip(seen, (8, 16, 16), strict=True)]
    return f"{'×'.join(map(str, seen))} voxels and its map has {'×'.join(map(str, cells))}"


def _confusion(labelled: list[tuple[str | None, dict[str, Any]]], classes: list[str]) -> str:
    counts = Counter((label, r["class"] or r["status"]) for label, r in labelled)
    columns = classes + sorted({column for _, column in counts} - set(classes))
    head = "".join(f"<th class=n>{escape(c)}</th>" for c in columns)
    rows = "".join(
        f"<tr><th>{escape(label)}</th>"
        + "".join(
            f'<td class="n{" hit" if c == label else ""}">{counts[label, c]}</td>' for c in columns
        )
        + "</tr>"
        for label in classes
    )
    return (
        f"<div class=scroll><table><caption>Rows: what was synthesized. Columns: what was "
        f"predicted.</caption><tr><th></th>{head}</tr>{rows}</table></div>"
    )


def _engines(manifest: dict[str, Any]) -> str:
    cpu = manifest["built_on"]["cpu"]
    rows = []
    for a in manifest["artifacts"]:
        parity, latency = a["parity"], a["latency_ms"]
        error = "not executed here" if parity is None else f"{parity['max_logits_error']:.1e}"
        time = "" if latency is None else f"{latency:.1f}"
        name = escape(a["name"]) + (" (default)" if a["name"] == manifest["default"] else "")
        judged = a["decisions"]
        changed = f"{judged['class_flips']} of {judged['scans']} scans" if judged else ""
        rows.append(
            f"<tr><td>{name}</td><td>{a['effective_precision'] or a['precision']}</td>"
            f"<td class=n>{time}</td><td class=n>{error}</td><td class=n>{changed}</td></tr>"
        )
    return (
        "<div class=scroll><table><caption>Latency: median of one volume, engine only, on "
        f"{escape(cpu['name'])}, {cpu['cores']} cores. Logits error: against "
        "torch in float32, relative. Class changed: by int8, against float32."
        "</caption><tr><th>engine</th><th>precision</th><th class=n>latency, ms</th>"
        "<th class=n>logits error</th><th class=n>class changed</th></tr>"
        f"{''.join(rows)}</table></div>"
    )


def _int8(manifest: dict[str, Any], sides: list[str]) -> list[str]:
    """Say which of the cohort's scans judged int8, and what they cannot show."""
    engines = [a for a in (*manifest["artifacts"], *manifest["rejected"]) if a["decisions"]]
    said = []
    for a in engines[:1]:
        judged = a["decisions"]["scans"] - a["decisions"]["seen"]
        said.append(
            f"<p>Of the cohort's {len(sides)} scans, {sides.count('held-out')} did not train the "
            f"network. One of each of their patients, {judged} in all, judged whether int8 keeps "
            f"float32's decisions. {a['quantization']['scans']} others calibrated int8.</p>"
        )
    names: dict[tuple[str, str], list[str]] = {}  # engines that one reason is about
    for a in engines:
        for kind in ("failure", "reserve"):
            for text in a["decisions"][f"{kind}s"]:
                names.setdefault((kind, text), []).append(a["name"])
    return said + [
        f"<p><b>{escape(', '.join(about))}</b>, {kind}: {escape(text)}.</p>"
        for (kind, text), about in names.items()
    ]


def _card(result: dict[str, Any], folder: Path, label: str | None) -> str:
    name = escape(result["scan"])
    if result["status"] != "ok":
        return (
            f'<div class=card><h3>{name}</h3><p class="wrong">{escape(result["status"])}: '
            f"{escape(result['reason'])}</p></div>"
        )
    truth = ""
    if label is not None:
        mark = "right" if label == result["class"] else "wrong"
        truth = f' <span class="{mark}">(synthesized: {escape(label)})</span>'
    bars = "".join(
        f'<span>{escape(c)}</span><i style="--w:{100 * p:.1f}%"></i><span>{p:.3f}</span>'
        for c, p in result["probabilities"].items()
    )
    series = result["series"]
    notes = [f"series: {series['description'] or series['uid']}; {series['why']}"]
    notes += [f"warning: {warning['text']}" for warning in result["warnings"]]
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    picture = ""
    if result["overlay"]:
        data = base64.b64encode((folder / result["overlay"]).read_bytes()).decode()
        alt = "Class activation map over the most telling slices"
        picture = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
    return (
        f"<div class=card><h3>{name}</h3><p><b>{escape(result['class'])}</b>{truth}</p>"
        f'<div class=p>{bars}</div><ul class="soft">{listed}</ul>{picture}</div>'
    )


def _listing(labelled: list[tuple[str | None, dict[str, Any]]]) -> str:
    rows = []
    for label, r in labelled:
        mark = "right" if label == r["class"] else "wrong"
        probability = f"{r['probabilities'][r['class']]:.3f}" if r["class"] else ""
        name = "/".join(Path(r["scan"]).parts[-2:])  # patient and visit
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{escape(label or '')}</td>"
            f'<td class="{mark}">{escape(r["class"] or r["reason"])}</td>'
            f"<td class=n>{probability}</td><td class=n>{r['stages_ms']['total']:.0f}</td></tr>"
        )
    return (
        "<div class=scroll><table><tr><th>scan</th><th>synthesized</th><th>predicted</th>"
        f"<th class=n>probability</th><th class=n>file to result, ms</th></tr>"
        f"{''.join(rows)}</table></div>"
    )
