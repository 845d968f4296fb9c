"""Describe what else the machine did during a measurement."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from darnet_trt.runtime.bench.part import Part, Rounded


class Clock(Part):
    """The clock of a processor, from samples during the measurement.

    Attributes:
        min_mhz: Of all samples, as are the next two.
        median_mhz: Their median.
        max_mhz: Of the CPU: the fastest allowed core at that moment.
        fell_percent: By how much the median of the last quarter lies below the first quarter's;
            below 0 where it rose.
    """

    min_mhz: Rounded
    median_mhz: Rounded
    max_mhz: Rounded
    fell_percent: Rounded

    @classmethod
    def of(cls, samples_mhz: Sequence[float]) -> Clock | None:
        """Summarise samples in the order of their times; None without any."""
        if not samples_mhz:
            return None
        quarter = max(1, len(samples_mhz) // 4)
        first, last = median(samples_mhz[:quarter]), median(samples_mhz[-quarter:])
        return cls(
            min_mhz=min(samples_mhz),
            median_mhz=median(samples_mhz),
            max_mhz=max(samples_mhz),
            fell_percent=100 * (1 - last / first),
        )


class GpuConditions(Part):
    """An NVIDIA GPU during the measurement, by NVML; None: not readable here.

    Attributes:
        name: Product name.
        clock: Of its streaming multiprocessors.
        slowed_percent: Reason → share of the samples in which the GPU kept its clock down for it.
        hottest_c: Highest temperature.
        other_processes: Most processes of others that computed on it at once.
        peak_memory_mb: Most memory in use, of all processes, in units of 10^6 bytes.
        energy_j: Of the whole board.
    """

    name: str
    clock: Clock | None
    slowed_percent: dict[str, Rounded] | None
    hottest_c: float | None
    other_processes: int | None
    peak_memory_mb: Rounded | None
    energy_j: Rounded | None


class Conditions(Part):
    """A machine during a measurement; None: not readable here.

    Attributes:
        duration_s: Of the measurement.
        cpus: CPUs that this process may use; percentages are of their time.
        load_per_cpu: Load average of the minute before the start, over the machine's CPUs.
        own_percent: CPU time of this process and its children.
        others_percent: CPU time of all other processes, and of the kernel for them.
        stolen_percent: CPU time that the hypervisor gave to other virtual machines.
        held_back_percent: CPU time that the control group's quota kept from this process.
        held_back: How often the quota did.
        involuntary_switches_per_s: How often a thread of this process was taken off its CPU, for a
            second of CPU time of this process.
        waiting_percent: Share of the time in which a thread of any process waited for a CPU.
        running_median: Threads of all processes that run or wait for a CPU, without the watcher.
        running_max: The most of them.
        clock: Of the fastest allowed CPU at each moment.
        governor: What sets the clock, as "powersave (intel_pstate)".
        slowed_by_heat: How often a CPU or its package was slowed because it was hot; each CPU that
            it concerns counts.
        major_faults: Pages that this process had to wait for, from a disk.
        swapped_in_mb: What the whole machine read back from swap, in units of 10^6 bytes.
        clock_step_s: Largest step of the wall clock; times are taken by another clock.
        suspended_s: How long the machine slept.
        peak_memory_mb: Most resident memory of this process, in units of 10^6 bytes.
        peak_memory_from: The kernel's own maximum, or the largest sample where that cannot be set
            back.
        cpu_energy_j: Of all CPU packages, by RAPL.
        gpu: None without a GPU at work.
        watcher_percent: CPU time of the watcher, as a share of one CPU.
        notes: What to do to read more.
    """

    duration_s: Rounded
    cpus: int
    load_per_cpu: Rounded | None
    own_percent: Rounded
    others_percent: Rounded | None
    stolen_percent: Rounded | None
    held_back_percent: Rounded | None
    held_back: int | None
    involuntary_switches_per_s: Rounded
    waiting_percent: Rounded | None
    running_median: float | None
    running_max: int | None
    clock: Clock | None
    governor: str | None
    slowed_by_heat: int | None
    major_faults: int
    swapped_in_mb: Rounded | None
    clock_step_s: Rounded
    suspended_s: Rounded | None
    peak_memory_mb: Rounded | None
    peak_memory_from: Literal["kernel", "samples"]
    cpu_energy_j: Rounded | None
    gpu: GpuConditions | None = None
    watcher_percent: Rounded
    notes: tuple[str, ...] = ()
