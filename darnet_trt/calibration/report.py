"""What calibration found, for people: Markdown, and the layers' effects as a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from darnet_trt.bundle.manifest import Decisions, LayerEffect, Quantization

__all__ = ["chart", "headline", "markdown"]

_ROW: Final = 26
_BAR: Final = 9
_NAMES: Final = 190  # pixels for the layers' names
_BARS: Final = 420
_VALUES: Final = 70
_TOP: Final = 64
_COLOURS: Final = {"alone": "#2b6cb0", "left out": "#dd6b20"}


def markdown(found: Quantization, decisions: Decisions) -> str:
    """The report of one calibration.

    Args:
        found: What was calibrated and tried.
        decisions: Of the network as it came out.
    """
    lines = [
        f"# {headline(found, decisions)}",
        "",
        f"{len(found.layers)} of {len(found.layers) + len(found.spared)} convolutions in int8, "
        f"ranges by {found.method}, from {found.source}.",
    ]
    if found.spared:
        lines += ["", f"Left in higher precision: {', '.join(found.spared)}."]
    lines += ["", "## Decisions", "", *_decisions(decisions)]
    if found.trials:
        lines += ["", "## What was tried", "", "| layers spared | decisions |", "| ---: | --- |"]
        lines += [
            f"| {count} | {'; '.join(failures) or 'kept'} |"
            for count, failures in sorted(found.trials.items())
        ]
    lines += ["", "## Ranges", "", "| ranges by | logits error |", "| --- | ---: |"]
    lines += [f"| {method} | {error:.2g} |" for method, error in found.errors.items()]
    for what, effects in (("block", found.block_effects), ("layer", found.effects)):
        if effects:
            lines += ["", f"## Effects of the {what}s", ""]
            lines += _effects(what, effects)
    return "\n".join(lines) + "\n"


def headline(found: Quantization, decisions: Decisions) -> str:
    """What came of one calibration."""
    if not decisions.passed:
        return "Int8: no set of layers that was tried keeps the decisions"
    if decisions.reserves:
        return "Int8: the decisions are kept as far as these scans show, which is not enough"
    if found.spared:
        layers = f"{len(found.spared)} layer{'s' * (len(found.spared) != 1)}"
        return f"Int8: the decisions are kept with {layers} spared"
    return "Int8: the decisions are kept with all layers"


def _decisions(found: Decisions) -> Iterator[str]:
    yield f"Judged against float32 on {found.source}."
    yield from (
        "",
        "| measure | found |",
        "| --- | --- |",
        f"| scans whose class changes | {found.class_flips} of {found.scans} |",
        f"| of these float32 was sure of | {found.sure_flips} |",
        f"| agreement | {found.agreement:.2%} |",
        f"| other scans whose class may change (95 %) | up to {found.flips_at_most:.0%} |",
        f"| a scan's probability moves, mean | {found.mean_probability_drift:.2g} |",
        f"| the same, most | {found.max_probability_drift:.2g} |",
    )
    for measure, difference in (("AUC of COVID-19", found.auc), ("accuracy", found.accuracy)):
        if difference is not None:
            yield (
                f"| {measure} | {difference.reference:.4g} → {difference.candidate:.4g}; "
                f"95 % interval of the difference {difference.lower:+.3g} to "
                f"{difference.upper:+.3g} |"
            )
    for title, sentences in (
        ("Why they are not kept", found.failures),
        ("What keeps int8 from being the default", found.reserves),
        ("What else to know", found.notes),
    ):
        if sentences:
            yield from ("", f"{title}:", "", *(f"- {sentence}" for sentence in sentences))


def _effects(what: str, effects: Sequence[LayerEffect]) -> Iterator[str]:
    yield f"| {what} | it alone in int8 | all but it, better by |"
    yield "| --- | ---: | ---: |"
    for effect in effects:
        yield f"| {effect.layer} | {effect.alone:.2g} | {effect.left_out:.2g} |"


def chart(effects: Sequence[LayerEffect]) -> str:
    """A bar chart as SVG, a layer a row in the order given.

    Args:
        effects: At least one.
    """
    values = [value for e in effects for value in (e.alone, e.left_out)]
    low, high = min(0.0, *values), max(0.0, *values)
    scale = _BARS / ((high - low) or 1.0)
    zero = _NAMES - low * scale
    width, height = _NAMES + _BARS + _VALUES, _TOP + _ROW * len(effects) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="8" y="20" font-size="14">Logits error, over the largest logit</text>',
    ]
    for i, (label, colour) in enumerate(
        zip(
            ("the layer alone in int8", "all layers but it: better by"),
            _COLOURS.values(),
            strict=True,
        )
    ):
        x = 8 + 200 * i
        parts.append(f'<rect x="{x}" y="33" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="43">{label}</text>')
    for row, effect in enumerate(effects):
        y = _TOP + row * _ROW
        parts.append(
            f'<text x="{_NAMES - 8}" y="{y + 14}" text-anchor="end">{escape(effect.layer)}</text>'
        )
        for bar, (value, colour) in enumerate(
            zip((effect.alone, effect.left_out), _COLOURS.values(), strict=True)
        ):
            left = min(zero, zero + value * scale)
            size = abs(value) * scale
            top = y + bar * (_BAR + 1)
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{size:.1f}" height="{_BAR}" '
                f'fill="{colour}"/>'
            )
            parts.append(
                f'<text x="{max(zero, left + size) + 4:.1f}" y="{top + _BAR - 1}" '
                f'font-size="10">{value:.2g}</text>'
            )
    bottom = _TOP + _ROW * len(effects)
    parts.append(
        f'<line x1="{zero:.1f}" y1="{_TOP - 4}" x2="{zero:.1f}" y2="{bottom}" stroke="#444"/>'
    )
    return "\n".join((*parts, "</svg>")) + "\n"
