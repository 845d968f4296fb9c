"""Compare what the engines answer to the same inputs, before they are timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from darnet_trt.bundle.reading import Bundle
from darnet_trt.bundle.reference import read_reference
from darnet_trt.runtime.bench.report.schema import REFERENCE, Answers, Fidelity
from darnet_trt.runtime.engines.parity import differences
from darnet_trt.runtime.engines.runner import Outputs, Runner, run

_RANDOM: Final = 4  # volumes, where the bundle has no inputs


@dataclass(frozen=True, eq=False)
class Questions:
    """Inputs for all engines.

    Attributes:
        inputs: Each float32 (1, d, h, w).
        source: Describes them.
        random: Whether they are random numbers.
        reference: torch's answers to them; None where the bundle has none.
    """

    inputs: Sequence[npt.NDArray[np.float32]]
    source: str
    random: bool = False
    reference: Outputs | None = None

    def ask(self, runner: Runner) -> Outputs:
        """Return an engine's answers, n = inputs."""
        return run(runner, self.inputs)


@dataclass(frozen=True)
class Compared:
    """Tell how all engines' answers differ, and which engines gave none.

    Attributes:
        answers: What was asked; None where nothing was.
        fidelity: By engine.
        warnings: Of engines that are not the bundle's.
        left_out: Engines that could not run: the reason, and what to do.
    """

    answers: Answers | None = None
    fidelity: Mapping[str, Fidelity] = field(default_factory=dict)
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def questions(bundle: Bundle, scan: npt.NDArray[np.float32] | None = None) -> Questions:
    """Return a scan, else the bundle's phantoms, else random numbers, the same ones each time.

    Args:
        bundle: Whose network is measured.
        scan: The input that `predict` makes of the scan, float32 (1, d, h, w).

    Raises:
        BundleError: Its file of phantoms is missing, altered or not readable.
    """
    if scan is not None:
        return Questions([scan], "the scan")
    stored = read_reference(bundle)
    if stored is not None and bundle.manifest.reference is not None:
        known = Outputs(stored.logits, stored.cam, stored.features)
        return Questions(list(stored.inputs), bundle.manifest.reference.source, reference=known)
    size = (_RANDOM, 1, *bundle.manifest.preprocessing.size)
    volumes = np.random.default_rng(0).random(size, np.float32)
    return Questions(list(volumes), f"{_RANDOM} volumes of random numbers", random=True)


def compare_answers(
    asked: Questions, answers: Mapping[str, Outputs], in_float32: Sequence[str]
) -> tuple[Answers, dict[str, Fidelity]]:
    """Compare all answers with torch's, else with those of an engine in float32, else the first's.

    Args:
        asked: What was asked.
        answers: By engine, at least one.
        in_float32: Those engines that ran this network in float32.
    """
    name, known = REFERENCE, asked.reference
    if known is None:
        names = [*in_float32, *answers]
        name = next((name for name in names if answers[name].finite.all()), names[0])
        known = answers[name]
    about = Answers(
        inputs=len(asked.inputs), source=asked.source, random=asked.random, reference=name
    )
    return about, {one: _fidelity(known, found) for one, found in answers.items()}


def _fidelity(known: Outputs, found: Outputs) -> Fidelity:
    differs = differences(known, found)
    return Fidelity(
        class_flips=int(differs.flipped.sum()),
        max_probability_difference=differs.probability,
        max_logits_error=differs.logits,
        finite=bool(found.finite.all()),
    )
