"""Load an engine for each of several streams side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from darnet_trt.bundle.reading import Bundle, pick_artifact
from darnet_trt.errors import UsageError, counted
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.machine.memory import free_memory, shown
from darnet_trt.runtime.engines.loading import Engine, load_engine
from darnet_trt.runtime.prediction.pipeline.memory import activation_bytes, input_bytes

Streams = Mapping[str, Mapping[int, Sequence[Engine]]]
"""By the artifact's name and the number of streams, the engine of each."""


def load_streams(
    bundle: Bundle,
    artifacts: Sequence[str | None],
    counts: Sequence[int],
    *,
    batches: Sequence[int] = (1,),
    threads: int | None = None,
    warn: Callable[[str], None] = lambda line: None,
) -> Streams:
    """Load as many engines as there are streams, for each number of streams.

    Args:
        bundle: From `open_bundle`.
        artifacts: As of `load_engine`, each once.
        counts: Numbers of streams.
        batches: Volumes in a query.
        threads: CPU threads that the streams share; None: one for each core. A single stream's
            engine then chooses.
        warn: Called with a line.

    Raises:
        UsageError: The engines take more memory than there is.
        DarnetError: As of `load_engine`.
    """
    _check_memory(bundle, artifacts, counts, batches)
    cpus = threads or usable_cpus()
    if (most := max(counts)) > cpus:
        warn(f"warning: {most} streams share {counted(cpus, 'CPU thread')}")
    loaded: dict[str, dict[int, list[Engine]]] = {}
    for artifact in artifacts:
        name = artifact
        by_count: dict[int, list[Engine]] = {}
        for count in counts:
            by_count[count] = []
            for share in _shares(cpus, count) if count > 1 else [threads]:
                engine = load_engine(bundle, name, threads=share)
                name = engine.artifact.name  # without a name it may not be the bundle's default
                by_count[count].append(engine)
        first = by_count[counts[0]][0]
        loaded[first.artifact.name] = by_count
        for warning in first.warnings:
            warn(f"warning: {warning}")
    return loaded


def _shares(threads: int, streams: int) -> list[int]:
    """Divide threads among streams; each has one at least."""
    return [max(threads // streams + (one < threads % streams), 1) for one in range(streams)]


def _check_memory(
    bundle: Bundle,
    artifacts: Sequence[str | None],
    counts: Sequence[int],
    batches: Sequence[int],
) -> None:
    """Refuse more engines than there is memory for; estimated, as for `check_memory`."""
    needed = 0
    for name in artifacts:
        artifact = pick_artifact(bundle, name)
        files = sum((bundle.path / file).stat().st_size for file in artifact.files)
        at_once = 1 if artifact.backend == "openvino" else max(batches)
        on_cpu = artifact.target == "cpu"
        each = 2 * files + on_cpu * at_once * activation_bytes(bundle)
        needed += sum(counts) * (each + sum(batches) * input_bytes(bundle))
    count = len(artifacts) * sum(counts)
    if needed > (left := free_memory()):
        raise UsageError(
            f"{counted(count, 'engine')} take some {shown(needed)} of memory, and {shown(left)} "
            "are free",
            where="--concurrency",
            do="give fewer streams, smaller batches or fewer engines",
        )
