"""Compare what `bench` says of a scan's way with the stage times that `predict` writes.

    python -m benchmarks.bench.stages BUNDLE SCAN… [--artifact NAME] [--rounds 30]

In each round, one after the other: the query of `bench` from file to result; `predict`, of which
the stage times in the result count; and the way to the network's input of `bench --scan`. File to
result over the sum of all stages should be 1, to 3 %; and the way to the input over find, read and
preprocess. What `predict` does between its stages, such as handing headers from process to process,
is in the first figure and in no stage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.bench.targets import Target, agrees, judged, table
from darnet_trt.bundle.reading import Bundle, open_bundle
from darnet_trt.runtime.bench.file_to_result.from_file import FromFile
from darnet_trt.runtime.bench.file_to_result.reading.once import Round, once
from darnet_trt.runtime.bench.statistics.ratios import Ratio, paired_ratio
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.result import StageTimes
from darnet_trt.scan.isolated import reader

AGREES = 0.03


@dataclass(frozen=True)
class Row:
    """What `bench` found, over what the stages say.

    Attributes:
        what: The way.
        ours_ms: Of `bench`, one a round.
        stages_ms: The sum of the stages, in the same rounds.
    """

    what: str
    ours_ms: list[float]
    stages_ms: list[float]

    @property
    def ratio(self) -> Ratio:
        """Return the ratio of a typical round."""
        return paired_ratio(self.stages_ms, self.ours_ms)

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        medians = (f"{median(times):.1f}" for times in (self.ours_ms, self.stages_ms))
        ends = self.ratio.interval()
        shown = "" if ends is None else f" ({ends[0]:.3f} to {ends[1]:.3f})"
        return [self.what, *medians, f"{self.ratio.value:.3f}{shown}"]


def compare(bundle: Bundle, engine: Engine, scan: Path, rounds: int) -> tuple[Row, Row]:
    """Return file to result, and the way to the input."""
    stages: list[StageTimes] = []
    ways: list[Round] = []
    traces: dict[str, Trace] = {}

    def ask() -> None:
        (result,) = predict(bundle, [scan], engine=engine)
        stages.append(result.stages_ms)

    with reader() as process:
        read = partial(process.run, once, scan, bundle.manifest.preprocessing, False, where=scan)
        subjects = [
            replace(FromFile("bench", bundle, scan, engine).subject, turn_ms=0),
            Subject("predict", ask, turn_ms=0),
            Subject("reading", lambda: ways.append(read()), turn_ms=0),
        ]
        in_turns(subjects, traces, rounds=rounds)
    found = traces["predict"].measured(stages)
    to_input = [one.find + one.read + one.preprocess for one in found]
    own = [one.whole.ms for one in traces["reading"].measured(ways)]
    whole = Row(
        f"{scan.name}, file to result",
        traces["bench"].latencies_ms,
        [one.total for one in found],
    )
    return whole, Row(f"{scan.name}, to the input", own, to_input)


def main(words: list[str] | None = None) -> list[Target]:
    """Print a table; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--artifact")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args(words)
    bundle = open_bundle(arguments.bundle)
    engine = load_engine(bundle, arguments.artifact)
    targets: list[Target] = []

    def rows() -> Iterator[list[str]]:
        for scan in arguments.scans:
            whole, way = compare(bundle, engine, scan, arguments.rounds)
            targets.append(agrees(whole.what, whole.ratio.value, AGREES))
            yield from (whole.cells(), way.cells())

    heads = f"{engine.artifact.name}, {arguments.rounds} rounds"
    table([heads, "bench ms", "stages of predict ms", "ratio"], rows())
    return targets


if __name__ == "__main__":
    sys.exit(not judged(main()))
