"""Describe a scan's way to the network's input, as measured."""

from __future__ import annotations

from typing import Literal

from darnet_trt.runtime.bench.part import Part, Rounded

Bound = Literal["headers", "decoding", "preprocessing", "disk", "waiting"]


class Stage(Part):
    """The time of a stage.

    Attributes:
        ms: Median of the rounds.
        low_ms: Lower end of its 95 % interval; None where the rounds give none.
        high_ms: Upper end of its interval.
        cpu_ms: Median processor time of all threads: more than `ms` where several run, less where
            they wait.
        read_mb: Median of what it read from files, in units of 10^6 bytes; None: not readable here.
        from_disk_mb: Median of what was in no file cache; a disk reads ahead, and may give more.
        samples_ms: Of every round, in order.
    """

    ms: Rounded
    low_ms: Rounded | None
    high_ms: Rounded | None
    cpu_ms: Rounded
    read_mb: Rounded | None
    from_disk_mb: Rounded | None
    samples_ms: tuple[Rounded, ...]


class Way(Part):
    """The way from a scan's files to the network's input.

    Attributes:
        headers: Finding the scan: opening its files, reading and judging their headers, choosing a
            series.
        decoding: Waiting for slices that are read and decoded, those looked at for the lungs too.
        preprocessing: Finding the lungs, the linear map, the checks, the texture.
        whole: All of it.
        waiting_ms: Time that no thread of the process accounts for: it waited.
        bound: What took most: a stage while it computed, or waiting. "disk": for files that came
            from a disk, with cold files the waiting beyond that with warm ones.
        bound_percent: Its share of the whole time; a stage's own waiting counts.
    """

    headers: Stage
    decoding: Stage
    preprocessing: Stage
    whole: Stage
    waiting_ms: Rounded
    bound: Bound
    bound_percent: Rounded


class Encoding(Part):
    """Slices of one transfer syntax or file format, decoded without the rest of the way.

    Attributes:
        name: As "JPEG 2000 lossless"; "uncompressed pixels"; "NIfTI, gzip".
        slices: Slices of the series in it.
        decoded: Those that the input needs of the series; a volume file is decoded whole.
        time: To read and decode these, on as many threads as on the way.
        mb_per_s: Pixels of 16 bits, in units of 10^6 bytes, a second.
    """

    name: str
    slices: int
    decoded: int
    time: Stage
    mb_per_s: Rounded


class Reading(Part):
    """Divide the time between a scan's files and the network's input.

    Attributes:
        files: Files of the scan.
        series: Series whose pixels are looked at: the usable ones.
        slices: Slices of the series that is read.
        decoded: Slices of it that were decoded in full.
        looked_at: Slices that were looked at to find the lungs, some at a lower resolution.
        cpus: CPUs that the process may use.
        chosen: Encodings of the series that is read.
        warm: Files in the file cache.
        cold: Files dropped from the file cache before each round; None: not possible here.
        encodings: Of each transfer syntax or file format, the best series in it.
        peak_memory_mb: Most resident memory of the process that reads; None: not readable here.
    """

    files: int
    series: int
    slices: int
    decoded: int
    looked_at: int
    cpus: int
    chosen: tuple[str, ...]
    warm: Way
    cold: Way | None
    encodings: tuple[Encoding, ...]
    peak_memory_mb: Rounded | None
