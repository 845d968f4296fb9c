"""Measure how often the statistics of `bench` are right, on simulated runners.

    python -m benchmarks.bench.intervals [--all] [--runs 2000] [--seed 0]

Steady runners: how often a 95 % interval holds the true quantile (of the runs that get one), and in
what share of all runs there is an interval. Drifting runners: how often they are not called steady:
they are called drifting, or their samples too few to say. Both have targets: the first in each cell
in which at least half of the runs get an interval, the second for drifts by 10 % and at least 100
samples. A timer that interrupts some samples has no target below 300 samples: its intervals are too
wide there.

With `--all` also: the block bootstrap. Warm-ups: when they end. Ratios: how often their intervals
hold the true one. Decisions: how often a runner is called slower that is, and that is not, beside
another process.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial

import numpy as np

from benchmarks.bench import block_bootstrap
from benchmarks.bench.runners import (
    SHAPES,
    STEADY,
    beside_bursts,
    drifting,
    wandering,
    warming,
)
from benchmarks.bench.targets import Target, judged, table
from darnet_trt.runtime.bench.regression.guard import LOOKS
from darnet_trt.runtime.bench.statistics.decision import SequentialTest
from darnet_trt.runtime.bench.statistics.quantiles import PERCENTS, Summary, summarise
from darnet_trt.runtime.bench.statistics.ratios import paired_ratio
from darnet_trt.runtime.bench.statistics.undisturbed import UndisturbedRatio
from darnet_trt.runtime.bench.statistics.warmup import warm_up

COUNTS = (30, 100, 300, 1000, 3000)
DRIFT_COUNTS = (30, 50, 100, 300, 1000)
HELD = (93.0, 97.0)
"""Percent of nominal 95 % intervals."""
MOST_GIVEN = 0.5
"""Share of runs with an interval from which on a cell counts."""
NOT_STEADY = 95.0
"""Percent of drifting runs that are not called steady."""
WALK = "random walk"
PERIODIC, PERIODIC_COUNT = "interrupted", 300
CLEAR_CHANGE, CLEAR_COUNT = 0.1, 100
RUNS_FOR_TRUTH = 2_000_000


def summaries(draw, rng, runs: int, n: int) -> Iterator[Summary]:
    """Yield the summary of each run."""
    for times in draw(rng, runs, n):
        yield summarise(times)


@cache
def true_quantiles(name: str) -> dict[float, float]:
    """Return the quantiles of a steady runner, from very many runs of one sample."""
    marginal = STEADY[name](np.random.default_rng(1), RUNS_FOR_TRUTH, 1)
    return dict(zip(PERCENTS, np.percentile(marginal, PERCENTS).tolist(), strict=True))


def coverage(name: str, n: int, runs: int, seed: int) -> dict[str, float]:
    """Return shares of runs: for each percent those with an interval, and those of them it holds.

    Also those called drifting, and those with too few samples to say.
    """
    draw, truth = STEADY[name], true_quantiles(name)
    held, given = dict.fromkeys(PERCENTS, 0), dict.fromkeys(PERCENTS, 0)
    verdicts: Counter[str] = Counter()
    rng = np.random.default_rng((seed, n))
    for summary in summaries(draw, rng, runs, n):
        verdicts[summary.drift.verdict] += 1
        for one in summary.quantiles:
            if one.low_ms is not None and one.high_ms is not None:
                given[one.percent] += 1
                held[one.percent] += one.low_ms <= truth[one.percent] <= one.high_ms
    found = {verdict: verdicts[verdict] / runs for verdict in ("drifting", "too few")}
    for percent in PERCENTS:
        found[f"given {percent:g}"] = given[percent] / runs
        found[f"held {percent:g}"] = held[percent] / max(given[percent], 1)
    return found


def drift_shares(draw, n: int, runs: int, seed: int) -> tuple[float, float, float]:
    """Return shares of runs: not called steady, called drifting, and without any interval."""
    rng = np.random.default_rng((seed, n, 2))
    found = list(summaries(draw, rng, runs, n))
    verdicts = [one.drift.verdict for one in found]
    not_steady = [one != "steady" for one in verdicts]
    drifts = [one == "drifting" for one in verdicts]
    bare = [all(quantile.low_ms is None for quantile in one.quantiles) for one in found]
    return float(np.mean(not_steady)), float(np.mean(drifts)), float(np.mean(bare))


def bootstrap_coverage(name: str, n: int, runs: int, seed: int) -> list[float]:
    """Return for the first three percents how often the block bootstrap's interval holds."""
    rng = np.random.default_rng((seed, n))
    held = []
    for times in STEADY[name](rng, runs, n):
        ends = [block_bootstrap.interval(rng, times, percent) for percent in PERCENTS[:3]]
        truth = (true_quantiles(name)[percent] for percent in PERCENTS[:3])
        held.append([low <= value <= high for (low, high), value in zip(ends, truth, strict=True)])
    return np.mean(held, axis=0).tolist()


def settling(draw, level, runs: int, seed: int, most: int = 1000) -> dict[str, float]:
    """Measure until the median has settled, or `most` samples.

    Returns:
        The share that settled, the mean samples that it took, and by how much the level at the
        first warm sample lies above the last one: the mean and the largest of 95 %.
    """
    found, taken, left = [], [], []
    for times in draw(np.random.default_rng((seed, 4)), runs, most):
        counts = (n for n in range(1, most + 1) if warm_up(times[:n]).settled)
        count = next(counts, most)
        judged = warm_up(times[:count])
        found.append(judged.settled)
        taken.append(count)
        left.append(level(np.minimum(judged.start, most - 1)) - 1)
    return {
        "settled": float(np.mean(found)),
        "taken": float(np.mean(taken)),
        "left": float(np.mean(left)),
        "most": float(np.quantile(left, 0.95)),
    }


def ratio_coverage(name: str, n: int, runs: int, seed: int) -> dict[str, float]:
    """Return for both kinds of ratios the share with an interval, and that it holds."""
    rng = np.random.default_rng((seed, n, 3))
    both = zip(*(STEADY[name](rng, runs, n) for _ in range(2)), strict=True)
    result = {}
    found = {"paired": [], "undisturbed": []}
    for first, second in both:
        found["paired"].append(paired_ratio(first, 1.05 * second).interval())
        found["undisturbed"].append(UndisturbedRatio([1.05 * second], [first]).interval())
    for kind, intervals in found.items():
        given = [one for one in intervals if one is not None]
        result[f"given {kind}"] = len(given) / runs
        result[f"held {kind}"] = float(np.mean([low <= 1.05 <= high for low, high in given] or 0))
        result[f"half {kind}"] = (
            float(np.mean([np.log(high / low) for low, high in given] or 0)) / 2
        )
    return result


def decisions(slower: float, limit: float, runs: int, seed: int) -> dict[str, float]:
    """Decide between runs of 30 s beside bursts of another process, as `--baseline` does.

    Returns:
        Shares of runs: "above"; "below"; `means`: above, by the means. `passed`: the
        mean part of the time that a decision took.
    """
    rng = np.random.default_rng((seed, int(1000 * slower)))
    said, passed, means = [], [], []
    before = beside_bursts(rng, runs, 30, 20, 6)
    now = beside_bursts(rng, runs, 30, 20 * slower, 6)
    for (old, old_yard), (new, new_yard) in zip(before, now, strict=True):
        looks = SequentialTest(limit)
        for part in LOOKS:
            so_far = [one[: int(part * len(one))] for one in (new, new_yard)]
            ratio = UndisturbedRatio([so_far[0], old_yard], [old, so_far[1]])
            verdict = looks.look(ratio, part)
            if verdict:
                break
        said.append(verdict)
        passed.append(part)
        means.append(np.mean(new) / np.mean(old) > limit)
    return {
        "above": said.count("above") / runs,
        "below": said.count("below") / runs,
        "passed": float(np.mean(passed)),
        "means": float(np.mean(means)),
    }


def per_cent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}"


def coverage_rows(runs: int, seed: int, held: dict[str, float]) -> Iterator[list[str]]:
    """Yield rows: held / given in percent; keep what counts in `held`, cell → percent."""
    for name in STEADY:
        for n in COUNTS:
            found = coverage(name, n, runs, seed)
            shares = {p: (100 * found[f"held {p:g}"], found[f"given {p:g}"]) for p in PERCENTS}
            held |= {
                f"{name}, n {n}, p{p:g}": share
                for p, (share, given) in shares.items()
                if given >= MOST_GIVEN and not (name == PERIODIC and n < PERIODIC_COUNT)
            }
            cells = [
                f"{share:.1f} / {100 * given:.0f}" if given else "-"
                for share, given in shares.values()
            ]
            yield [name, str(n), *cells, per_cent(found["drifting"]), per_cent(found["too few"])]


def drift_rows(runs: int, seed: int, not_steady: dict[str, float]) -> Iterator[list[str]]:
    """Yield rows: not steady / drifting / without an interval, in percent.

    What counts is kept in `not_steady`, cell → percent not steady.
    """
    for change in (0.05, 0.1):
        draws = {name: partial(drifting, shape=name, change=change) for name in SHAPES}
        for name, draw in {**draws, WALK: partial(wandering, change=change)}.items():
            shares = {n: drift_shares(draw, n, runs, seed) for n in DRIFT_COUNTS}
            not_steady |= {
                f"{name}, n {n}": 100 * label
                for n, (label, *_) in shares.items()
                if change >= CLEAR_CHANGE and n >= CLEAR_COUNT
            }
            cells = (
                f"{per_cent(label)} / {100 * drifts:.0f} / {100 * bare:.0f}"
                for label, drifts, bare in shares.values()
            )
            yield [name, f"{100 * change:.0f} %", *cells]


def targets(held: dict[str, float], not_steady: dict[str, float]) -> list[Target]:
    """Return the targets of the cells that are furthest off.

    Args:
        held: Cell → percent of the intervals that hold the true quantile.
        not_steady: Cell → percent of drifting runs that are not called steady.
    """
    lowest, highest = min(held, key=held.__getitem__), max(held, key=held.__getitem__)
    seldom = min(not_steady, key=not_steady.__getitem__)
    least, most = HELD
    return [
        Target(f"intervals hold, least ({lowest})", held[lowest], least, True, " %"),
        Target(f"intervals hold, most ({highest})", held[highest], most, False, " %"),
        Target(
            f"drifts not called steady, least ({seldom})",
            not_steady[seldom],
            NOT_STEADY,
            True,
            " %",
        ),
    ]


def bootstrap_rows(runs: int, seed: int) -> Iterator[list[str]]:
    """Yield rows: held in percent."""
    for name in ("AR(1) 0.5", "AR(1) 0.9", "sticky modes"):
        for n in COUNTS[1:4]:
            yield [name, str(n), *map(per_cent, bootstrap_coverage(name, n, runs, seed))]


def settling_rows(runs: int, seed: int) -> Iterator[list[str]]:
    """Yield rows for warm-ups by 30 % that fall with a time constant, and for steady runners."""
    draws = {
        f"30 %, constant {constant}": (partial(warming, constant=constant), constant)
        for constant in (3, 10, 30, 100)
    }
    draws |= {name: (STEADY[name], 0) for name in STEADY}
    for name, (draw, constant) in draws.items():

        def level(at: int, constant: int = constant) -> float:
            return 1 + 0.3 * float(np.exp(-at / constant)) if constant else 1.0

        found = settling(draw, level, runs, seed)
        cells = (per_cent(found["settled"]), f"{found['taken']:.0f}")
        yield [name, *cells, per_cent(found["left"]), per_cent(found["most"])]


def ratio_rows(runs: int, seed: int) -> Iterator[list[str]]:
    """Yield rows: held / given in percent, and half the mean width."""
    for name in STEADY:
        for n in (10, *COUNTS[:4]):
            found = ratio_coverage(name, n, runs, seed)
            cells = [
                f"{per_cent(found[f'held {kind}'])} / {100 * found[f'given {kind}']:.0f}"
                f" ({100 * found[f'half {kind}']:.2f} %)"
                for kind in ("paired", "undisturbed")
            ]
            yield [name, str(n), *cells]


def decision_rows(runs: int, seed: int) -> Iterator[list[str]]:
    """Yield rows for each true ratio and limit."""
    for slower, limit in ((1, 1.025), (1.025, 1.025), (1.05, 1.025), (1.05, 1.05), (1.1, 1.05)):
        found = decisions(slower, limit, runs, seed)
        yield [f"{slower:g}", f"{limit:g}", *(per_cent(found[key]) for key in found)]


def main(words: list[str] | None = None) -> list[Target]:
    """Simulate and print the tables; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="also what has no target")
    asked = parser.parse_args(words)
    runs, seed = asked.runs, asked.seed
    heads = ["runner", "n"]
    held: dict[str, float] = {}
    not_steady: dict[str, float] = {}
    table(
        [*heads, *(f"p{p:g} held / given" for p in PERCENTS), "drifting", "too few"],
        coverage_rows(runs, seed, held),
    )
    table(
        ["not steady / drifting / no interval", "change", *map(str, DRIFT_COUNTS)],
        drift_rows(runs, seed, not_steady),
    )
    if asked.all:
        table(["block bootstrap", "n", "p50", "p90", "p95"], bootstrap_rows(runs // 5, seed))
        table(
            ["warm-up", "settled", "samples", "mean left %", "95 % below %"],
            settling_rows(runs // 10, seed),
        )
        table([*heads, "paired", "undisturbed"], ratio_rows(runs, seed))
        table(
            ["true ratio", "limit", "above", "below", "time", "means above"],
            decision_rows(runs, seed),
        )
    return targets(held, not_steady)


if __name__ == "__main__":
    sys.exit(not judged(main()))
