"""Hold a bundle's engine against the project's targets, with `darnet-trt bench`.

    python -m benchmarks.cpu.network.engines BUNDLE --scan SCAN [--artifact NAME] [--rounds 7] \
        [--against torch,torch-compile,onnxruntime]

One run of `bench` measures the engine (the default one), its peers, the way from file to result,
start-up, memory, layers and the CPU's peak. The share of the peak is that of the engine's best
query, over the best reading: in slower ones, other processes took time from these cores. Speed-ups
in int8 are demanded where the CPU has VNNI.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

from benchmarks.bench.targets import Target, judged
from darnet_trt.runtime.bench.report.markdown import markdown
from darnet_trt.runtime.bench.report.schema import BenchReport

SHARES: Final = {"bf16": 95.0, "int8": 92.0}
"""Percent of the peak, by the precision that runs."""
SPEED_UPS: Final = {"torch": 7.0, "torch-compile": 4.4, "onnxruntime": 4.9}
"""In int8, over these peers in float32."""
INT8_MEMORY_MB: Final = 700.0


def targets(report: BenchReport) -> Iterator[Target]:
    """Yield the targets of the first engine of a report, of those parts that it has."""
    first, engine = report.configurations[0], report.engines[0]
    assert first.latency is not None
    alone_ms, name = first.latency.median_ms, first.name
    if (layers := engine.layers) is not None and engine.precision in SHARES:
        gmac = sum(group.gmac or 0.0 for group in layers.groups)
        peak = layers.peak_gmac_per_s or float("nan")
        share = 100 * gmac / (min(first.latency.samples_ms) / 1e3) / peak
        yield Target(f"{name}, share of the peak", share, SHARES[engine.precision], True, " %")
    has_vnni = any("vnni" in feature for feature in report.environment.cpu.features)
    for one in report.configurations[1:]:
        assert one.ratio is not None
        if one.way == "file-to-result" and one.engine == engine.name:
            yield Target("file to result / engine alone", one.ratio.value, 1.25, unit="×")
        elif one.name in SPEED_UPS and engine.precision == "int8" and has_vnni:
            limit = SPEED_UPS[one.name]
            yield Target(f"{one.name} / {name}", one.ratio.value, limit, True, "×")
    if engine.many_ms_per_scan is not None:
        yield Target("the same in a batch", engine.many_ms_per_scan / alone_ms, 1.05, unit="×")
    if (cold := engine.cold_start) is not None:
        start_s = (cold.first_result_ms - alone_ms) / 1e3
        yield Target(
            "process start to first result, less the engine's time", start_s, 1.5, unit=" s"
        )
        if engine.precision == "int8":
            memory_mb = cold.peak_memory_mb
            yield Target("peak memory of predict", memory_mb, INT8_MEMORY_MB, unit=" MB")


def main(words: list[str] | None = None) -> list[Target]:
    """Run `bench` and print its tables; return the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--artifact")
    parser.add_argument("--scan", required=True)
    parser.add_argument("--against", default=",".join(SPEED_UPS))
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args(words)
    artifact = ["--artifact", given.artifact] if given.artifact else []
    asked = ["--scan", given.scan, "--against", given.against, "--rounds", str(given.rounds)]
    command = [sys.executable, "-m", "darnet_trt", "bench", given.bundle, *artifact, *asked]
    ended = subprocess.run(
        [*command, "--layers", "--json"], stdout=subprocess.PIPE, text=True, check=True
    )
    report = BenchReport.model_validate_json(ended.stdout)
    print(f"\n{markdown(report)}", end="")
    return list(targets(report))


if __name__ == "__main__":
    sys.exit(not judged(main()))
