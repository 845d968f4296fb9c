"""Ask for results as users do, after the scenarios of MLPerf Inference.

Reddi and others, MLPerf Inference Benchmark, ISCA 2020 (arXiv 1911.02549), section 4.2. A single
stream, one query after the other, is `turns.in_turns`.

An engine answers one caller at a time, so each stream has its own: as many engines as streams, each
with its share of the CPUs.
"""

from typing import Literal

Scenario = Literal["single-stream", "multi-stream", "offline", "server", "burst"]
