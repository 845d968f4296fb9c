"""What calibration found, for people: Markdown, and the layers' effects as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from darnet_trt.runtime.manifest import LayerEffect, Quantization

__all__ = ["chart", "markdown"]

_ROW: Final = 26
_BAR: Final = 9
_NAMES: Final = 190  # pixels for the layers' names
_BARS: Final = 420
_VALUES: Final = 70
_TOP: Final = 64
_COLOURS: Final = {"alone": "#2b6cb0", "left out": "#dd6b20"}


def markdown(found: Quantization) -> str:
    """The report of one calibration."""
    lines = [
        f"{len(found.layers)} of {len(found.layers) + len(found.spared)} convolutions in int8, "
        f"ranges by {found.method}, from {found.source}.",
        "",
        "| ranges by | logits error |",
        "| --- | ---: |",
        *(f"| {method} | {error:.2g} |" for method, error in found.errors.items()),
    ]
    if found.spared:
        lines += ["", f"Left in higher precision: {', '.join(found.spared)}."]
    if found.trials:
        lines += ["", "| layers spared | decisions |", "| ---: | --- |"]
        lines += [
            f"| {count} | {'; '.join(failures) or 'kept'} |"
            for count, failures in sorted(found.trials.items())
        ]
    if found.effects:
        lines += [
            "",
            "| layer | it alone in int8 | all but it, better by |",
            "| --- | ---: | ---: |",
        ]
        lines += [f"| {e.layer} | {e.alone:.2g} | {e.left_out:.2g} |" for e in found.effects]
    return "\n".join(lines) + "\n"


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
