"""Count the tail's bytes and launches, fused and as torch runs it; this needs no GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.attention.traffic import (
    BLOCKS,
    COMPILED,
    EAGER,
    KINDS,
    STAGES,
    fused,
    map_bytes,
    problem,
    three_launches,
    unfused,
)
from darnet_trt.kernels.library import Library


def accounting(library: Library, batches: list[int]) -> list[dict[str, Any]]:
    """Count bytes and launches of one block, by type, stage, batch and variant."""
    rows = []
    for kind in KINDS:
        for batch in batches:
            for stage in STAGES:
                p = problem(stage, batch, kind)
                variants = {
                    "fused": fused(library, p),
                    "fused in three": three_launches(p),
                    "compiled, at its best": unfused(COMPILED, p),
                    "torch eager": unfused(EAGER, p),
                }
                rows += [
                    {
                        "type": kind, "stage": stage, "batch": batch, "variant": name,
                        "map_bytes": map_bytes(p), "bytes_read": t.read,
                        "bytes_written": t.written, "launches": t.kernels,
                    }
                    for name, t in variants.items()
                ]  # fmt: skip
    return rows


def accounting_table(rows: list[dict[str, Any]]) -> str:
    """Return Markdown: one block a row, the eight blocks last; MB = 10⁶ bytes."""
    lines = []
    for kind in KINDS:
        for batch in sorted({row["batch"] for row in rows}):
            some = [r for r in rows if r["type"] == kind and r["batch"] == batch]
            names = list(dict.fromkeys(r["variant"] for r in some))
            lines += [
                f"{kind}, batch {batch}: MB moved by one block's tail (launches)",
                "",
                "| | the map | " + " | ".join(names) + " | eager / fused | compiled / fused |",
                "| --- |" + " ---: |" * (len(names) + 3),
            ]
            total = np.zeros((len(names), 2), int)
            for stage in STAGES:
                here = [r for r in some if r["stage"] == stage]
                moved = [r["bytes_read"] + r["bytes_written"] for r in here]
                cells = np.array([moved, [r["launches"] for r in here]]).T
                lines.append(_row(stage, f"{here[0]['map_bytes'] / 1e6:.1f}", cells))
                total += BLOCKS * cells
            lines += [_row("eight blocks", "", total), ""]
    return "\n".join(lines)


def _row(name: str, first: str, cells: Any) -> str:
    fused_bytes, _, compiled, eager = cells[:, 0]
    shown = " | ".join(f"{moved / 1e6:.1f} ({launches})" for moved, launches in cells)
    ratios = f"{eager / fused_bytes:.2f} | {compiled / fused_bytes:.2f}"
    return f"| {name} | {first} | {shown} | {ratios} |"
