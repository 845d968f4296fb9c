"""The report of a benchmark, as `bench --json` prints it and `report.json` holds it.

Times are in ms, memory in units of 10^6 bytes, and each name ends in its unit. An interval is one
of 95 %; its ends are null where the samples give none.
"""

from __future__ import annotations

from typing import Final, Literal

from darnet_trt.machine.hardware import Cpu, Gpu
from darnet_trt.runtime.bench.file_to_result.reading.models import Reading
from darnet_trt.runtime.bench.layers.layers import Layers
from darnet_trt.runtime.bench.part import Part, Precise, Rounded
from darnet_trt.runtime.bench.scenarios import Scenario
from darnet_trt.runtime.bench.scenarios.burst import BurstResult
from darnet_trt.runtime.bench.scenarios.peak import PeakResult
from darnet_trt.runtime.bench.scenarios.server import ServerResult
from darnet_trt.runtime.bench.signs.conditions import Conditions

SCHEMA_VERSION: Final = 4

Way = Literal["engine", "file-to-result"]
Arrivals = ServerResult | PeakResult | BurstResult

REFERENCE: Final = "float32 reference"
"""The name of torch's answers, which the bundle holds."""


class Estimate(Part):
    """A value and the ends of its interval."""

    value: Rounded
    low: Rounded | None
    high: Rounded | None


class Quantile(Part):
    """A quantile of the latencies.

    Attributes:
        percent: 50 is the median.
        value_ms: None where the samples give no interval, except for the median.
        low_ms: Lower end of its interval.
        high_ms: Upper end of its interval.
        needed: Samples that an interval takes, of a steady runner.
    """

    percent: float
    value_ms: Rounded | None
    low_ms: Rounded | None
    high_ms: Rounded | None
    needed: int


class Latency(Part):
    """Times of single queries, from when each was due to its answer.

    Attributes:
        effective: How many independent samples they are worth.
        verdict: Whether the runner drifts, and has no true quantile; "too few" independent samples
            to say.
        change: Largest over smallest median of the run's fifths, minus 1; None with fewer than 20
            samples.
        quantiles: Median, p90, p95 and p99; and that of the limit of a search.
        samples_ms: Every measured one, in order.
    """

    effective: int
    verdict: Literal["steady", "drifting", "too few"]
    change: Rounded | None
    quantiles: tuple[Quantile, ...]
    samples_ms: tuple[Precise, ...]

    def quantile(self, percent: float) -> Quantile:
        """Return one of the quantiles."""
        return next(one for one in self.quantiles if one.percent == percent)

    @property
    def median(self) -> Quantile:
        """Return the median."""
        return self.quantile(50)

    @property
    def median_ms(self) -> float:
        """Return the median's value."""
        value = self.median.value_ms
        assert value is not None
        return value


class Configuration(Part):
    """One line of the comparison: an engine, what it does in a query, and how many scans.

    Attributes:
        name: As in the table and `samples.csv`.
        engine: The name of its engine in `BenchReport.engines`.
        way: "engine": volumes in memory to outputs. "file-to-result": a scan's files to its result,
            with the code of `predict` and the engine loaded; in a burst, with that of `serve`.
        streams: How many answer side by side, each with an engine of its own.
        batch: Scans in a query; of "multi-stream", those of all streams.
        settled: Whether its times had settled before the first turn.
        warm_up: Queries that were not measured: before it was warm, and at the start of turns.
        turns: In how many turns it was measured.
        latency: None where an interruption came before its first turn. Of a search of the highest
            rate, that at this rate; None where no rate met the limit.
        scans_per_s: Scans a second: of "offline" those of all streams, else at the median latency.
            None of "server" and "burst".
        ratio: Time per scan over the first configuration's, paired over turns: above 1 is slower.
            None of the first.
        stages_ms: Median of each of `predict`'s stages; None for "engine".
        cpu_j_per_scan: Energy of all CPU packages in its turns; None: not readable here.
        gpu_j_per_scan: Energy of the GPU's board in its turns; None: not readable here.
        arrivals: What "server" or "burst" found; None of the others.
    """

    name: str
    engine: str
    way: Way
    streams: int = 1
    batch: int
    settled: bool
    warm_up: int
    turns: int
    latency: Latency | None
    scans_per_s: Estimate | None
    ratio: Estimate | None
    stages_ms: dict[str, Rounded] | None = None
    cpu_j_per_scan: Rounded | None
    gpu_j_per_scan: Rounded | None
    arrivals: Arrivals | None = None


class ColdStart(Part):
    """New `predict` processes with one scan: medians of some processes.

    Attributes:
        first_result_ms: From the start of a process to its first result.
        load_ms: Verifying and loading the engine, while another process reads the scan.
        first_inference_ms: The first volume through the engine.
        peak_memory_mb: Largest resident memory of a process and the one that reads its scan; the
            input, which they share, counts once.
    """

    first_result_ms: Rounded
    load_ms: Rounded
    first_inference_ms: Rounded
    peak_memory_mb: Rounded


class OnGpu(Part):
    """Split the GPU's time of a plan: medians of all measured queries, between CUDA events.

    Attributes:
        to_gpu_ms: Copy of the volume from pinned host memory.
        compute_ms: The engine.
        to_host_ms: Copy of the logits and the class activation map.
    """

    to_gpu_ms: Rounded
    compute_ms: Rounded
    to_host_ms: Rounded


class Fidelity(Part):
    """How an engine's answers to the inputs of `Answers` differ from the reference's.

    Attributes:
        class_flips: Inputs whose most probable class differs.
        max_probability_difference: Of any class, absolute.
        max_logits_error: Of any logit, over the largest reference logit's magnitude.
        finite: Whether all outputs are finite numbers; if not, every input counts as a flip.
    """

    class_flips: int
    max_probability_difference: Precise
    max_logits_error: Precise
    finite: bool


class Answers(Part):
    """The inputs that all engines answered before they were timed.

    Attributes:
        inputs: How many.
        source: Describes them.
        random: Whether they are random numbers, which say little about scans.
        reference: Whose answers the others are compared with: a name of `BenchReport.engines`, or
            "float32 reference": torch's, which the bundle holds.
    """

    inputs: int
    source: str
    random: bool
    reference: str


class MeasuredEngine(Part):
    """An engine.

    Attributes:
        name: An artifact of the bundle, a name of --against, or another bundle's folder with its
            artifact, "folder:artifact".
        warnings: The artifact's, from `load_engine`, and how another bundle differs.
        precision: The one that ran.
        provenance: Versions, device, threads.
        cold_start: None without a scan, and for engines that are not of the bundle.
        many_ms_per_scan: Wall time per scan when one scan is predicted several times in one run;
            None as for `cold_start`.
        on_gpu: None except for TensorRT plans.
        layers: Where its time goes; None without --layers, and for engines that are not of the
            bundle.
        fidelity: None where a single engine was measured.
    """

    name: str
    warnings: tuple[str, ...]
    precision: str
    provenance: dict[str, str]
    cold_start: ColdStart | None = None
    many_ms_per_scan: Rounded | None = None
    on_gpu: OnGpu | None = None
    layers: Layers | None = None
    fidelity: Fidelity | None = None


class Environment(Part):
    """The machine of the measurement.

    Attributes:
        command: The command line.
        cpus_allowed: CPUs that this process and its container may use.
        memory_free_mb: Before the start.
        threads: As given; None: each engine chose.
    """

    darnet_trt: str
    python: str
    system: str
    command: str
    cpu: Cpu
    cpus_allowed: int
    memory_free_mb: Rounded
    gpus: tuple[Gpu, ...]
    threads: int | None
    packages: dict[str, str]


class Comparison(Part):
    """The first configuration now against a stored measurement of it.

    Attributes:
        file: Where it is stored.
        fail_above: A larger ratio is slower.
        verdict: "above": slower. "below": not slower. None: the time was too short to tell.
        ratio: The time now over the time before, both as multiples of the yardstick's, except on a
            GPU; None before the first look.
    """

    file: str
    fail_above: float
    verdict: Literal["above", "below"] | None
    ratio: Estimate | None


class BenchReport(Part):
    """A benchmark.

    Attributes:
        schema_version: Of this format.
        bundle: The bundle's folder.
        bundle_sha256: Of its manifest.
        scan: The scan of "file-to-result"; None without.
        scenario: How queries come: one after the other; to all streams at once; to each stream as
            soon as it has answered; at random times; a series' slices from a scanner.
        started: UTC, ISO 8601.
        interrupted: Whether it was stopped, and holds what was measured until then.
        pause_ms: Pause before each turn.
        turn_ms: Least time of a turn.
        gpu_warm_up_ms: Queries at the start of a GPU's turn that are not measured.
        environment: Machine and versions.
        conditions: What else the machine did while the configurations took turns.
        doubts: Reasons not to trust the figures; empty on an idle machine.
        engines: The bundle's, then those of --against.
        configurations: The first is the reference of the ratios.
        yardstick_ms: Latencies of the yardstick, which took turns with them; None where there was
            none.
        baseline: The first one against a stored measurement; None without --baseline.
        answers: What `MeasuredEngine.fidelity` is about; None where a single engine was measured.
        left_out: Those of --against that could not run, with the reason and what to do.
        reading: The scan's way to the network's input; None without a scan, or where an
            interruption came before.
    """

    schema_version: Literal[4] = SCHEMA_VERSION
    bundle: str
    bundle_sha256: str
    scan: str | None
    scenario: Scenario = "single-stream"
    started: str
    interrupted: bool
    pause_ms: float
    turn_ms: float
    gpu_warm_up_ms: float
    environment: Environment
    conditions: Conditions
    doubts: tuple[str, ...]
    engines: tuple[MeasuredEngine, ...]
    configurations: tuple[Configuration, ...]
    yardstick_ms: tuple[Precise, ...] | None = None
    baseline: Comparison | None = None
    answers: Answers | None = None
    left_out: tuple[str, ...] = ()
    reading: Reading | None = None

    def engine(self, name: str) -> MeasuredEngine:
        """Return the engine of that name."""
        return next(one for one in self.engines if one.name == name)
