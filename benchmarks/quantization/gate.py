"""Simulate how often the decision gate ships an int8 engine: the table of docs/decision-gate.md.

    python -m benchmarks.quantization.gate [--trials 2000] [--seed 0] [--scans 110 129 ...]

"Ships" means that the engine passes without a reserve. Each trial draws the scans that judge,
float32's logits and the engine's, and asks `decide` as `build` does.

- Scans: a third of each class. One more table has few scans with COVID-19, of which the engine
  loses every tenth.
- Float32's logits: that of the right class is normal around d, the two others are normal around 0,
  all with a variance of 1; they are multiplied by d times s. d lies between 2.44 and 3.10, so the
  accuracy between 0.926 and 0.974. With s = 1 the probabilities are as sure as they should be; s
  lies between 0.4, as in the demo's network, and 2, which is too sure.
- Smooth engines: each logit gets a normal error. Half of its variance is common to all scans, as in
  int8 engines of the demo. Its size is set so that the stated share of all scans changes class. At
  0 % it is that of 0.2 %, and the scans that would change class do not move.
- Catastrophic engines: single scans jump to another class with certainty; the others do not move.
- Search: where the first engine fails, others are asked for, on the same scans and with errors of
  their own: three ways to scale the weights, as for plans, then those of the bisection. None is
  better than the first. For a gate that must not be worn down by repeated asking this is the worst
  case.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from darnet_trt.calibration.decisions.decide import decide
from darnet_trt.calibration.decisions.margins import MARGINS, SEARCHED
from darnet_trt.calibration.search.sensitivity import fewest_spared

SCANS = (110, 129, 138, 234, 259, 500, 1000)
FLIPS = (0.0, 0.002, 0.01, 0.03)
FEW = ((2, 118), (2, 498), (20, 480), (40, 80), (40, 100), (40, 460))
NETWORKS = 20
AHEAD, SHARPNESS = (2.44, 3.10), (0.4, 2.0)
LAYERS = range(20)
SCALES = 3


@dataclass(frozen=True)
class Network:
    """A float32 network, and the error of its int8 engines.

    Attributes:
        ahead: Distance d of the right class's logit.
        sharpness: Factor s of the logits.
        common: Error common to all scans, (3,).
        sizes: Share of flips → factor of the errors.
    """

    ahead: float
    sharpness: float
    common: np.ndarray
    sizes: dict[float, float]


def networks(rng: np.random.Generator, pool: int) -> list[Network]:
    """Draw networks, and find the errors that give each share of flips on a pool of scans."""
    found = []
    for ahead, sharpness in rng.uniform(*zip(AHEAD, SHARPNESS, strict=True), (NETWORKS, 2)):
        common = rng.normal(size=3)
        right = drawn(rng, ahead, np.arange(pool) % 3)
        errors = common + rng.normal(size=right.shape)
        sizes = {share: _size(right, errors, share) for share in FLIPS if share}
        found.append(Network(ahead, sharpness, common, {0.0: sizes[FLIPS[1]], **sizes}))
    return found


def _size(right: np.ndarray, errors: np.ndarray, share: float) -> float:
    called = right.argmax(1)
    small, large = 0.0, 4.0
    for _ in range(16):
        middle = (small + large) / 2
        if ((right + middle * errors).argmax(1) != called).mean() > share:
            large = middle
        else:
            small = middle
    return small


def drawn(rng: np.random.Generator, ahead: float, labels: np.ndarray) -> np.ndarray:
    """Return float32's logits before they are scaled."""
    return rng.normal(size=(len(labels), 3)) + ahead * np.eye(3)[labels]


def smooth(rng: np.random.Generator, network: Network, right: np.ndarray, share: float):
    """Move all scans by a little."""
    errors = network.common + rng.normal(size=right.shape)
    moved = right + network.sizes[share] * errors
    if share:
        return moved
    kept = moved.argmax(1) == right.argmax(1)
    return np.where(kept[:, None], moved, right)


def catastrophic(rng: np.random.Generator, network: Network, right: np.ndarray, share: float):
    """Let single scans jump to one of the other classes."""
    jumps = rng.random(len(right)) < share
    other = (right.argmax(1) + rng.integers(1, 3, len(right))) % 3
    return np.where(jumps[:, None], 10 * network.ahead * np.eye(3)[other], right)


def ships(labels: np.ndarray, right: np.ndarray, engine: Callable[[], np.ndarray], scale: float):
    """Return whether an engine ships, without the search and with it."""
    float32, called = (scale * right).astype(np.float32), right.argmax(1)

    def asked(margins):
        moved = engine()
        if (moved.argmax(1) != called).sum() > max(1, MARGINS.flips * len(labels)):
            return None  # fails by this limit alone; most bad engines do, so it saves time
        return decide(float32, (scale * moved).astype(np.float32), labels, "drawn", margins)

    first = asked(MARGINS)
    if first is not None and first.passed:
        return 2 * (not first.reserves,)
    for _ in range(SCALES):
        scaled = asked(SEARCHED)
        if scaled is not None and scaled.passed:
            return False, not scaled.reserves
    looks = {len(LAYERS): first}

    def failures(layers):
        if len(layers) not in looks:
            looks[len(layers)] = asked(SEARCHED)
        found = looks[len(layers)]
        return ("changed too many",) if found is None else found.failures

    chosen = fewest_spared(LAYERS, failures, seconds=60, log=lambda line: None).quantized
    return False, bool(chosen) and not looks[len(chosen)].reserves


def share_shipped(rng, drawn_networks, labels, kind, flips, trials):
    """Return how often an engine ships, without the search and with it."""
    counts = np.zeros(2)
    for trial in range(trials):
        network = drawn_networks[trial % NETWORKS]
        right = drawn(rng, network.ahead, labels)
        scale = network.sharpness * network.ahead
        # The default arguments bind this trial's values.
        engine = lambda n=network, r=right: kind(rng, n, r, flips)  # noqa: E731
        counts += ships(labels, right, engine, scale)
    return counts / trials


def share_shipped_that_loses(rng, drawn_networks, covid, others, trials):
    """Return how often an engine ships that loses every tenth scan with COVID-19."""
    labels = np.repeat([0, 1], [covid, others])
    labels[covid::2] = 2

    def losing(rng, network, right, share):
        lost = (labels == 0) & (rng.random(len(labels)) < share)
        return np.where(lost[:, None], 10 * network.ahead * np.eye(3)[2], right)

    return share_shipped(rng, drawn_networks, labels, losing, 0.1, trials)


def main() -> None:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scans", type=int, nargs="+", default=SCANS)
    parser.add_argument("--pool", type=int, default=200_000, help="scans that set an error's size")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    known = networks(rng, arguments.pool)
    kinds = {"smooth": smooth, "catastrophic": catastrophic}
    heads = [f"{100 * flips:g} % {name}" for name in kinds for flips in FLIPS]
    print(f"| scans | {' | '.join(heads)} |\n| ---: |{' ---: |' * len(heads)}", flush=True)
    for scans in arguments.scans:
        labels = np.arange(scans) % 3
        cells = [
            share_shipped(rng, known, labels, kind, flips, arguments.trials)
            for kind in kinds.values()
            for flips in FLIPS
        ]
        print(f"| {scans} | {' | '.join(map(percent, cells))} |", flush=True)
    print("\n| COVID-19 scans | others | ships |\n| ---: | ---: | ---: |")
    for covid, others in FEW:
        found = share_shipped_that_loses(rng, known, covid, others, arguments.trials)
        print(f"| {covid} | {others} | {percent(found)} |", flush=True)


def percent(shares: np.ndarray) -> str:
    """Return the chances without and with the search in percent, in one cell."""
    return ", ".join(f"{100 * share:.1f}" for share in shares)


if __name__ == "__main__":
    main()
