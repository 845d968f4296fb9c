"""Take a scan's way to the network's input once; for a process that reads scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from darnet_trt.errors import UsageError
from darnet_trt.evaluation.texture import texture
from darnet_trt.machine.cpus import usable_cpus
from darnet_trt.runtime.bench.file_to_result.reading.cache import drop_from_cache
from darnet_trt.runtime.bench.file_to_result.reading.cost import Cost, cost_so_far
from darnet_trt.runtime.bench.file_to_result.reading.encodings import by_encoding, is_volume
from darnet_trt.runtime.bench.signs.memory import PeakMemory
from darnet_trt.scan.discovery import find_studies
from darnet_trt.scan.loading.choice import rank
from darnet_trt.scan.loading.load import LoadedInput, load_best
from darnet_trt.scan.loading.slices import Slices
from darnet_trt.scan.preprocessing import Preprocessing, needed_slices
from darnet_trt.scan.series import Series, Study


@dataclass(frozen=True)
class EncodedSlices:
    """Slices of one encoding, of the best series that has some.

    Attributes:
        slices: Slices of that series in it.
        decoded: Those of them that the input needs.
        pixels: Of each slice.
        cost: To decode these by themselves; None where that was not tried.
    """

    slices: int
    decoded: int
    pixels: int
    cost: Cost | None


@dataclass(frozen=True)
class Round:
    """The way once.

    Attributes:
        files: As of `Reading`, as are the next five.
        headers: As of `Way`, as are the next three.
        parts: By encoding.
        chosen: Encodings of the series that was read.
    """

    files: int
    series: int
    slices: int
    decoded: int
    looked_at: int
    cpus: int
    peak_memory_mb: float | None
    headers: Cost
    decoding: Cost
    preprocessing: Cost
    whole: Cost
    parts: dict[str, EncodedSlices]
    chosen: tuple[str, ...]


def once(path: Path, spec: Preprocessing, cold: bool) -> Round:
    """Take the way once, with the code of `predict`; then decode each encoding by itself.

    Args:
        path: Of one scan.
        spec: What makes the input.
        cold: Whether its files are dropped from the file cache first. Nothing follows then.

    Raises:
        UsageError: There are several scans.
        ScanError: It cannot be read, or is refused.
    """
    if cold:
        drop_from_cache(_only(path))
    memory = PeakMemory(Path("/"))
    start = cost_so_far()
    study = _only(path)
    ranked = rank(study)
    found = cost_so_far()
    choice, loaded = load_best(study, ranked, spec)
    read = cost_so_far()
    texture(loaded.array)
    end = cost_so_far()
    peak_mb = memory.most_mb() if memory.source == "kernel" else None
    # The map runs while other threads decode: it takes the time in which nobody waits for them.
    the_map = Cost(loaded.preprocess_ms, loaded.preprocess_cpu_ms)
    series = [choice.series, *(one.series for one in ranked if one.series is not choice.series)]
    parts: dict[str, EncodedSlices] = {}
    for one in series:
        needed = _needed(one, spec, loaded if one is choice.series else None)
        of_all = by_encoding(one, range(one.slices))
        for name, indices in by_encoding(one, needed).items():
            if name not in parts:
                cost = None if cold else _decode(one, spec, indices)
                rows, columns = one.matrix
                parts[name] = EncodedSlices(len(of_all[name]), len(indices), rows * columns, cost)
    return Round(
        files=len({file for one in study.series for file in one.files}),
        series=len(ranked),
        slices=choice.series.slices,
        decoded=choice.series.slices if is_volume(choice.series) else loaded.decoded,
        looked_at=loaded.probed,
        cpus=usable_cpus(),
        peak_memory_mb=peak_mb,
        headers=found.minus(start),
        decoding=read.minus(found).minus(the_map),
        preprocessing=end.minus(read).plus(the_map),
        whole=end.minus(start),
        parts=parts,
        chosen=tuple(by_encoding(choice.series, range(choice.series.slices))),
    )


def _only(path: Path) -> Study:
    study, *others = find_studies(path)
    if others:
        raise UsageError(f"holds {1 + len(others)} scans", where=path, do="name one of them")
    return study


def _needed(series: Series, spec: Preprocessing, loaded: LoadedInput | None) -> Sequence[int]:
    """Return the slices that the input needs; of a series that was not loaded, of all its height.

    A volume file is read whole.
    """
    if is_volume(series):
        return range(series.slices)
    if loaded is not None:
        return loaded.sampled.indices
    return [int(index) for index in needed_slices(spec, series.slices, (0, series.slices))]


def _decode(series: Series, spec: Preprocessing, indices: Sequence[int]) -> Cost:
    start = cost_so_far()
    for _ in Slices(series, spec).stored(indices):
        pass
    return cost_so_far().minus(start)
