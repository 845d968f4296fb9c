"""What a bundle's manifest says about its engines, for the page."""

from __future__ import annotations

from darnet_trt.bundle.manifest import Artifact, Manifest
from darnet_trt.errors import counted
from darnet_trt.runtime.prediction.report.markup import html, table


def section(manifest: Manifest) -> str:
    """Return the HTML of the bundle's engines, and of how int8 was judged."""
    cpu = manifest.built_on.get("cpu", {})
    on = f" on {cpu['name']}, {cpu['cores']} cores" if {"name", "cores"} <= cpu.keys() else ""
    caption = (
        f"Latency: median of one volume, engine only{on}. Logits error: against torch in float32, "
        "relative. Class changed: by int8, against float32."
    )
    titles = ["engine", "precision", "latency, ms", "logits error", "class changed"]
    rows = [_row(a, default=a.name == manifest.default) for a in manifest.artifacts]
    said = "".join(f"<p>{line}</p>" for line in int8(manifest))
    return (
        f'<section id="engines"><h2>Engines in the bundle</h2>{table(caption, titles, rows, 3)}'
        f"{said}</section>"
    )


def _row(a: Artifact, *, default: bool) -> list[str]:
    judged = a.decisions
    return [
        html(a.name) + (" (default)" if default else ""),
        html(a.effective_precision or a.precision),
        f"{a.latency_ms:.1f}" if a.latency_ms is not None else "",
        "not executed" if a.parity is None else f"{a.parity.max_logits_error:.1e}",
        f"{judged.class_flips} of {counted(judged.scans, 'scan')}" if judged else "",
    ]


def int8(manifest: Manifest) -> list[str]:
    """Return lines of HTML: which scans judged int8, and what they cannot show."""
    engines = [
        (a, a.decisions, a.quantization)
        for a in (*manifest.artifacts, *manifest.rejected)
        if a.decisions and a.quantization
    ]
    said = []
    for _, judged, quantized in engines[:1]:
        seen = "how many of them trained the weights is not known"
        if judged.seen is not None:
            seen = f"{judged.seen} of them from patients that trained the weights"
        said.append(
            f"{counted(judged.scans, 'scan')} judged whether int8 keeps float32's decisions; "
            f"{seen}. {counted(quantized.scans, 'scan')} calibrated int8."
        )
    names: dict[tuple[str, str], list[str]] = {}  # engines that one reason is about
    for engine, judged, _ in engines:
        for kind, texts in (("failure", judged.failures), ("reserve", judged.reserves)):
            for text in texts:
                names.setdefault((kind, text), []).append(engine.name)
    return said + [
        f"<b>{html(', '.join(about))}</b>, {kind}: {html(text)}."
        for (kind, text), about in names.items()
    ]
