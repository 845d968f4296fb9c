"""Compare what `bench` says of a scan's way with the stage times that `predict` writes.

    python -m benchmarks.bench.stages BUNDLE SCAN… [--artifact NAME] [--rounds 100]

In each round, one after the other: the query of `bench` from file to result; `predict`, of which
the stage times in the result count; and the way to the network's input of `bench --scan`. File to
result over the sum of all stages should be 1, to 3 %; and the way to the input over find, read and
preprocess. `predict` hands headers from process to process, which counts in its find and read, and
`bench --scan` does not: the second ratio lies below 1.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.bench.targets import Agreement, Target, compared, judged
from darnet_trt.bundle.reading import Bundle, open_bundle
from darnet_trt.runtime.bench.file_to_result.from_file import FromFile
from darnet_trt.runtime.bench.file_to_result.reading.once import Round, once
from darnet_trt.runtime.bench.subject import Subject, Trace
from darnet_trt.runtime.bench.turns import in_turns
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.prediction.predict import predict
from darnet_trt.runtime.prediction.results.result import StageTimes
from darnet_trt.scan.isolated import reader

SAME = 0.03


def compare(bundle: Bundle, engine: Engine, scan: Path, rounds: int) -> tuple[Agreement, Agreement]:
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
    whole_ms = [one.total for one in found]
    return (
        Agreement(f"{scan.name}, file to result, ms", whole_ms, traces["bench"].latencies_ms, SAME),
        Agreement(f"{scan.name}, to the input, ms", to_input, own),
    )


def main(words: list[str] | None = None) -> list[Target]:
    """Print a table; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scans", type=Path, nargs="+")
    parser.add_argument("--artifact")
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args(words)
    bundle = open_bundle(arguments.bundle)
    engine = load_engine(bundle, arguments.artifact)
    return compared(
        "stages of predict",
        (
            row
            for scan in arguments.scans
            for row in compare(bundle, engine, scan, arguments.rounds)
        ),
    )


if __name__ == "__main__":
    sys.exit(not judged(main()))
