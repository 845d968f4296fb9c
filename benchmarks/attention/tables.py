"""Show what `run.py` measured as tables, and judge it by targets.

A row is one type, batch and stage: `ms` and `bytes` by name, and in `failed` a reason for each name
that has no time; a row that failed as a whole has one reason, under `ROW`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.attention.traffic import KINDS, STAGES
from darnet_trt.kernels.library import PHASES

COPY_SHARE = 0.85  # of the copy's bandwidth, pool and apply, stages 1 and 2
AGAINST = {"torch eager": 2.5, "torch.compile": 1.3}  # times faster, sum of the eight blocks
COPIES = ("memcpy", "kernel")
COPIED = ("pool", "apply", "fused")
ROW = "all"

REACHED, MISSED, NOT_MEASURED = "reached", "missed", "not measured"

Row = dict[str, Any]


def copy_name(way: str, phase: str) -> str:
    """Return a row's name for the copy that moves as much as a phase."""
    return f"{way} as {phase}"


def ms_of(row: Row, name: str) -> float:
    """Return the milliseconds; NaN where not measured."""
    return float(row["ms"].get(name, math.nan))


def bytes_per_s(row: Row, name: str) -> float:
    """Return bytes read and written in a second; NaN where not measured."""
    return row["bytes"][name] / ms_of(row, name) * 1e3 if name in row["ms"] else math.nan


def share_of_copy(row: Row, phase: str) -> float:
    """Return the bandwidth divided by the faster copy's; NaN unless both copies were measured."""
    copies = [bytes_per_s(row, copy_name(way, phase)) for way in COPIES]
    return bytes_per_s(row, phase) / (math.nan if math.isnan(sum(copies)) else max(copies))


def targets(rows: Sequence[Row], batches: Sequence[int]) -> list[dict[str, Any]]:
    """Judge each target: reached, missed or not measured.

    A share or ratio that lacks a number is not measured, unless what there is misses already.
    """
    at = {(row["type"], row["batch"], row["stage"]): row for row in rows}
    absent: Row = {"ms": {}}
    found = []
    for kind in KINDS:
        for stage in ("stage 1", "stage 2"):
            shares = {
                f"{phase}, batch {batch}": share_of_copy(
                    at.get((kind, batch, stage), absent), phase
                )
                for batch in batches
                for phase in ("pool", "apply")
            }
            found.append(_least(f"{kind} {stage}: bandwidth / the copy's", shares, COPY_SHARE))
    for batch in batches:
        some = [at.get(("float16", batch, stage), absent) for stage in STAGES]
        for rival, limit in AGAINST.items():
            ratio = sum(ms_of(r, rival) for r in some) / sum(ms_of(r, "fused") for r in some)
            what = f"float16 batch {batch}, eight blocks: {rival} / fused"
            found.append(_least(what, {"": ratio}, limit))
    return found


def _least(what: str, found: dict[str, float], limit: float) -> dict[str, Any]:
    measured = {name: value for name, value in found.items() if not math.isnan(value)}
    least = min(measured, key=lambda name: measured[name], default="")
    value = measured.get(least)
    if value is not None and value < limit:
        verdict = MISSED
    else:
        verdict = REACHED if len(measured) == len(found) else NOT_MEASURED
    if least:
        what += f" (least: {least})"
    return {"what": what, "found": value, "limit": limit, "verdict": verdict}


def summary(judged: Sequence[dict[str, Any]]) -> str:
    """Return how many targets were reached, missed and not measured."""
    verdicts = [target["verdict"] for target in judged]
    return "targets: " + ", ".join(
        f"{verdicts.count(verdict)} {verdict}" for verdict in (REACHED, MISSED, NOT_MEASURED)
    )


def report(content: dict[str, Any]) -> str:
    """Return Markdown of what `run.py` wrote on a GPU, also if it did not get to the end."""
    rows = content["rows"]
    lines = [
        f"{content['gpu']}, torch {content['torch']}; µs of one block's tail, medians of "
        f"{content['rounds']} turns; L2 {content['l2_bytes'] / 2**20:.0f} MiB, buffers rotated",
        *_clocks(rows),
        "",
        phase_table(rows),
        "",
        rival_table(rows),
        "",
        *([before_table(rows, content["before"]), ""] if "before" in content else []),
    ]
    for target in content["targets"]:
        found = "–" if target["found"] is None else f"{target['found']:.2f}"
        lines.append(
            f"- {target['what']}: {found}, at least {target['limit']:g}: {target['verdict']}"
        )
    for row in rows:
        here = f"{row['type']} batch {row['batch']} {row['stage']}"
        lines += [f"- {here}: {name}: {reason}" for name, reason in row["failed"].items()]
        if row.get("launch_not_hidden"):
            names = ", ".join(row["launch_not_hidden"])
            lines.append(f"- {here}: launches may be in the times of {names}")
    return "\n".join([*lines, "", summary(content["targets"])])


def _clocks(rows: Sequence[Row]) -> list[str]:
    seen = [row["clocks_mhz"] for row in rows if row.get("clocks_mhz")]
    said = []
    for name, title in (("sm", "SM"), ("memory", "memory")):
        now = [clocks[name] for clocks in seen if name in clocks]
        if now:
            most = max((clocks.get(f"{name}_max", 0) for clocks in seen), default=0)
            said.append(f"{title} {min(now)} to {max(now)} MHz (at most {most})")
    return [f"Clocks just after each row: {'; '.join(said)}"] if said else []


def phase_table(rows: Sequence[Row]) -> str:
    """Return the phases, their bandwidth and that of the copies: µs, GB/s, shares."""
    lines = [
        [
            *_name(row),
            *(_us(ms_of(row, phase)) for phase in PHASES),
            _us(sum(ms_of(row, phase) for phase in PHASES)),
            _us(ms_of(row, "fused")),
            *(_shown(bytes_per_s(row, phase), 1e-9, ".0f") for phase in ("pool", "apply")),
            *(_shown(bytes_per_s(row, copy_name(way, "fused")), 1e-9, ".0f") for way in COPIES),
            *(_shown(share_of_copy(row, phase), 1, ".0%") for phase in COPIED),
        ]
        for row in rows
    ]
    return markdown(
        "type, batch, stage, pool, apply, their sum, fused, pool GB/s, apply GB/s, "
        "memcpy GB/s, copy kernel GB/s, pool / copy, apply / copy, fused / copy",
        lines,
    )


def before_table(rows: Sequence[Row], before: Sequence[Row]) -> str:
    """Return the tail's µs in an earlier run of this benchmark and in this one."""
    earlier = {tuple(_name(row)): row for row in before}
    absent: Row = {"ms": {}}
    lines = []
    for row in rows:
        then = ms_of(earlier.get(tuple(_name(row)), absent), "fused")
        now = ms_of(row, "fused")
        lines.append([*_name(row), _us(then), _us(now), _shown(then / now, 1, ".2f")])
    return markdown("type, batch, stage, before, now, before / now", lines)


def rival_table(rows: Sequence[Row]) -> str:
    """Return the tail's and torch's µs, and their ratios."""
    lines = [
        [
            *_name(row),
            *(_us(ms_of(row, name)) for name in ("fused", *AGAINST)),
            *(_shown(ms_of(row, name) / ms_of(row, "fused"), 1, ".2f") for name in AGAINST),
            *(
                _us(row.get("from_python_ms", {}).get(name, math.nan))
                for name in ("operator", *AGAINST)
            ),
        ]
        for row in rows
        if row["type"] == "float16"
    ]
    return markdown(
        "type, batch, stage, fused, torch eager, torch.compile, eager / fused, compile / fused, "
        "from Python: operator, torch eager, torch.compile",
        lines,
    )


def _name(row: Row) -> list[str]:
    return [row["type"], str(row["batch"]), row["stage"]]


def _us(ms: float) -> str:
    return _shown(ms, 1e3, ".1f")


def _shown(value: float, times: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value * times, form)


def markdown(head: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first three columns are names."""
    names = head.split(", ")
    lines = [names, ["---"] * 3 + ["---:"] * (len(names) - 3), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
