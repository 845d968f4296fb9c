"""Write the report of a calibration: Markdown, and a chart of the layers' effects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from darnet_trt.bundle.manifest import Decisions, LayerEffect, Quantization

_ERROR: Final = (
    "Logits error: the largest difference from float32's logits, as a share of their largest "
    "magnitude, on some of the scans that calibrated."
)
_ROW: Final = 26
_BAR: Final = 9
_NAMES: Final = 190  # pixels for the layers' names
_BARS: Final = 420
_VALUES: Final = 70
_TOP: Final = 64
_ALONE: Final = "error if only it is int8"
_LEFT_OUT: Final = "error saved by keeping it in float"
_COLOURS: Final = {_ALONE: "#2b6cb0", _LEFT_OUT: "#dd6b20"}


def markdown(found: Quantization, decisions: Decisions) -> str:
    """Return the report of one calibration.

    Args:
        found: What was calibrated and tried.
        decisions: Those of the resulting network.
    """
    lines = [
        f"# {headline(found, decisions)}",
        "",
        f"Int8 in {len(found.layers)} of {len(found.layers) + len(found.spared)} convolutions, "
        f"ranges by {found.method}, calibrated on {found.source}.",
    ]
    if found.spared:
        lines += ["", f"Kept in float: {', '.join(found.spared)}."]
    lines += ["", "## Decisions", "", *_decisions(decisions)]
    if found.trials:
        lines += ["", "## What was tried", "", "| layers in float | decisions |", "| ---: | --- |"]
        lines += [
            f"| {count} | {'; '.join(failures) or 'kept'} |"
            for count, failures in sorted(found.trials.items())
        ]
    lines += ["", "## Ranges", "", _ERROR, "", "| method | logits error |", "| --- | ---: |"]
    lines += [f"| {method} | {error:.2g} |" for method, error in found.errors.items()]
    for what, effects in (("block", found.block_effects), ("layer", found.effects)):
        if effects:
            lines += ["", f"## Effects of the {what}s", ""]
            lines += _effects(what, effects)
    number = len(found.layers) + len(found.spared)
    if found.block_effects and len(found.effects) < number:
        lines += [
            "",
            f"Measured within the time limit: {_counted(len(found.block_effects), 'block')} and "
            f"{_counted(len(found.effects), 'layer')} of {number}. `--seconds` allows more.",
        ]
    return "\n".join(lines) + "\n"


def headline(found: Quantization, decisions: Decisions) -> str:
    """Return the result of one calibration in a line."""
    if not decisions.passed:
        return "int8 not approved: no set of layers that was tried keeps the decisions"
    if decisions.reserves:
        return f"int8 not approved: {decisions.reserves[0]}"
    if found.spared:
        return f"int8 approved with {_counted(len(found.spared), 'layer')} kept in float"
    return "int8 approved in all layers"


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' * (number > 1)}"


def _decisions(found: Decisions) -> Iterator[str]:
    yield f"Compared with float32 on {found.judges}. These scans did not calibrate."
    yield from (
        "",
        "| measure | result |",
        "| --- | --- |",
        f"| scans whose class changed | {found.class_flips} of {found.scans} |",
        f"| scans whose class changed although float32 was sure | {found.sure_flips} |",
        f"| agreement | {100 * found.agreement:.2f} % |",
        f"| new scans whose class would change, with {found.confidence} | "
        f"at most {100 * found.flips_at_most:.1f} % |",
        f"| change of a scan's probability, mean | {found.mean_probability_drift:.2g} |",
        f"| change of a scan's probability, largest | {found.max_probability_drift:.2g} |",
    )
    for measure, difference in (
        ("AUC of the positive class", found.auc),
        ("accuracy", found.accuracy),
    ):
        if difference is not None:
            yield (
                f"| {measure} | {difference.reference:.4g} → {difference.candidate:.4g}; "
                f"95 % interval of the difference {difference.lower:+.3g} to "
                f"{difference.upper:+.3g} |"
            )
    for title, sentences in (
        ("Why int8 fails", found.failures),
        ("Why int8 does not become the default", found.reserves),
        ("Notes", found.notes),
    ):
        if sentences:
            yield from ("", f"{title}:", "", *(f"- {sentence}" for sentence in sentences))


def _effects(what: str, effects: Sequence[LayerEffect]) -> Iterator[str]:
    yield f"| {what} | {_ALONE} | {_LEFT_OUT} |"
    yield "| --- | ---: | ---: |"
    for effect in effects:
        yield f"| {effect.layer} | {effect.alone:.2g} | {effect.left_out:.2g} |"


def chart(effects: Sequence[LayerEffect]) -> str:
    """Return a bar chart as SVG, one row a layer in the given order.

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
        '<text x="8" y="20" font-size="14">Logits error, as a share of the largest logit</text>',
    ]
    for i, (label, colour) in enumerate(_COLOURS.items()):
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
