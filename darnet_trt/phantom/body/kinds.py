"""The kinds of scans that a cohort is made of, and the class to which each belongs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from darnet_trt.errors import UsageError
from darnet_trt.phantom.body import disease
from darnet_trt.phantom.body.anatomy import Anatomy
from darnet_trt.phantom.body.findings import Disease, Findings, draw_harmless


@dataclass(frozen=True)
class Kind:
    """A kind of scan.

    Attributes:
        label: The paper's class that it belongs to.
        share: Of that class's patients, unless a cohort is planned otherwise.
        draw: Draws what it shows.
    """

    label: str
    share: float
    draw: Callable[[Anatomy, np.random.Generator], Disease]


_COVID, _COMMON, _NORMAL = "covid-19", "common-pneumonia", "normal"
KINDS: Final = {
    "covid-19": Kind(_COVID, 0.6, disease.covid),
    "mild-covid-19": Kind(_COVID, 0.1, disease.mild_covid),
    "vascular-covid-19": Kind(_COVID, 0.1, disease.vascular_covid),
    "one-sided-covid-19": Kind(_COVID, 0.1, disease.one_sided_covid),
    "central-covid-19": Kind(_COVID, 0.1, disease.central_covid),
    "common-pneumonia": Kind(_COMMON, 0.8, disease.pneumonia),
    "viral-pneumonia": Kind(_COMMON, 0.2, disease.viral_pneumonia),
    "normal": Kind(_NORMAL, 0.65, disease.nothing),
    "emphysema": Kind(_NORMAL, 0.15, disease.emphysema),
    "small-nodules": Kind(_NORMAL, 0.2, disease.small_nodules),
}


def draw_findings(kind: str, anatomy: Anatomy, rng: np.random.Generator) -> Findings:
    """Draw the findings of a kind of scan; the harmless ones first, alike for all kinds.

    Raises:
        UsageError: No such kind.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown kind {kind!r}", do=f"choose from {', '.join(KINDS)}")
    harmless, atelectasis = draw_harmless(anatomy, rng)
    return Findings(harmless, atelectasis, KINDS[kind].draw(anatomy, rng))
