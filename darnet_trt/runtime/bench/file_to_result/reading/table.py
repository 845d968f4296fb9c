"""Write where the time goes on a scan's way to the input, as rows of tables and as sentences."""

from __future__ import annotations

from darnet_trt.runtime.bench.file_to_result.reading.encodings import UNCOMPRESSED
from darnet_trt.runtime.bench.file_to_result.reading.models import Reading, Stage, Way
from darnet_trt.runtime.bench.report.numbers import count, interval, number

STAGES = ("to the input", "ms", "share", "CPU ms", "cold ms", "CPU ms", "MB from disk")
ENCODINGS = ("decoding alone", "slices", "ms", "CPU ms", "MB/s")


def stages(found: Reading) -> list[tuple[str, ...]]:
    """Return a row for each stage, under `STAGES`."""
    rows: list[tuple[str, ...]] = []
    for name in ("headers", "decoding", "preprocessing", "whole"):
        one: Stage = getattr(found.warm, name)
        cold: Stage | None = getattr(found.cold, name, None)
        share = f"{100 * one.ms / found.warm.whole.ms:.0f} %"
        warm = (interval(one.ms, one.low_ms, one.high_ms), share, number(one.cpu_ms))
        rows.append((name, *warm, *_cold(cold)))
    return rows


def _cold(one: Stage | None) -> tuple[str, str, str]:
    if one is None:
        return ("–", "–", "–")
    from_disk = "–" if one.from_disk_mb is None else number(one.from_disk_mb)
    return (number(one.ms), number(one.cpu_ms), from_disk)


def encodings(found: Reading) -> list[tuple[str, ...]]:
    """Return a row for each transfer syntax or file format, under `ENCODINGS`."""
    return [
        (
            one.name,
            f"{count(one.decoded)} of {count(one.slices)}",
            interval(one.time.ms, one.time.low_ms, one.time.high_ms),
            number(one.time.cpu_ms),
            number(one.mb_per_s),
        )
        for one in found.encodings
    ]


def bounds(found: Reading) -> list[str]:
    """Return a sentence on what takes most, with cached files and with cold ones."""
    cold = (
        f"cold: {_bound(found, found.cold)}"
        if found.cold
        else "cold: not measurable here (the system keeps the files in memory, or does not tell)"
    )
    return [f"bound by {_bound(found, found.warm)}", cold]


def _bound(found: Reading, way: Way) -> str:
    took = f"{way.bound_percent:.0f} % of the time"
    match way.bound:
        case "headers":
            files = f"{count(found.files)} file{'s' * (found.files != 1)}"
            return f"the headers: {took}; {files}"
        case "decoding":
            of = f"{count(found.decoded)} of {count(found.slices)} slices"
            names = " and ".join(found.chosen)
            reading = found.chosen == (UNCOMPRESSED,)
            verbs = ("reading", "read") if reading else ("decoding", "decoded")
            return f"{verbs[0]} {names}: {took}; {of} are {verbs[1]}"
        case "preprocessing":
            return f"preprocessing: {took}"
        case "disk":
            mb = number(way.whole.from_disk_mb or 0.0)
            return f"the disk: {took}; {mb} MB came from it"
        case "waiting":
            return (
                f"waiting: {took}; for a CPU that other programs use, files on another computer, "
                "or a GPU"
            )
