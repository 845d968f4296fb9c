"""Measure how often the AUC's interval covers the truth: the table of docs/decision-gate.md.

    python -m benchmarks.quantization.coverage [--trials 2000] [--seed 0]

Two engines score the same scans. Two kinds of engines have a known difference of the area:

- worse order: scores are normal in each class, those with COVID-19 ahead, and correlated by 0.95
  between the engines; of the second engine they are ahead by less.
- lost scans: the first engine orders nearly all scans right; the second puts single scans with
  COVID-19 below all others.

Each cell is the share of trials in percent in which the interval covers the truth, and in brackets
that of DeLong's interval without the part for what no scan showed.
"""

import argparse
import math
from statistics import NormalDist

import numpy as np

from darnet_trt.evaluation.intervals import paired_areas, share_at_most

SIDES = ((10, 20), (10, 100), (40, 80), (78, 156), (167, 333), (333, 667))
DIFFERENCES = (0.0, -0.01, -0.05)
AREA = 0.98
CORRELATION = 0.95
NORMAL = NormalDist()


def worse_order(rng: np.random.Generator, positives: np.ndarray, difference: float):
    """Draw both engines' scores."""
    ahead = [2**0.5 * NORMAL.inv_cdf(AREA + change) for change in (0.0, difference)]
    shared, own = rng.normal(size=(2, len(positives)))
    second = CORRELATION * shared + (1 - CORRELATION**2) ** 0.5 * own
    return shared + ahead[0] * positives, second + ahead[1] * positives


def lost_scans(rng: np.random.Generator, positives: np.ndarray, difference: float):
    """Draw both engines' scores; a lost scan takes AREA of its share of the area with it."""
    first, _ = worse_order(rng, positives, 0.0)
    lost = positives & (rng.random(len(positives)) < -difference / AREA)
    return first, np.where(lost, first - 100, first)


def covered(rng, draw, covid: int, others: int, difference: float, trials: int) -> np.ndarray:
    """Return how often the interval covers the truth, and how often DeLong's part alone does."""
    labels = np.repeat([0, 1], [covid, others])
    unseen = share_at_most(0, min(covid, others))
    held = np.zeros(2)
    for _ in range(trials):
        first, second, lower, upper = paired_areas(*draw(rng, labels == 0, difference), labels, 0)
        half = max(second - first - lower, upper - (second - first))
        of_delong = math.sqrt(max(half**2 - unseen**2, 0.0))
        missed = abs(second - first - difference) - 1e-9
        held += missed <= half, missed <= of_delong
    return held / trials


def main() -> None:
    """Simulate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    kinds = {"worse order": worse_order, "lost scans": lost_scans}
    heads = [f"{name}, {difference:g}" for name in kinds for difference in DIFFERENCES]
    print(f"| COVID-19 scans | others | {' | '.join(heads)} |\n|{' ---: |' * (2 + len(heads))}")
    for covid, others in SIDES:
        cells = [
            "{:.1f} ({:.1f})".format(
                *100 * covered(rng, draw, covid, others, difference, arguments.trials)
            )
            for draw in kinds.values()
            for difference in DIFFERENCES
        ]
        print(f"| {covid} | {others} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
