"""Write what else the machine did as rows of a table."""

from __future__ import annotations

from typing import Final

from darnet_trt.runtime.bench.signs.conditions import Clock, Conditions, GpuConditions

NOT_READABLE: Final = "not readable here"


def rows(seen: Conditions) -> list[tuple[str, str]]:
    """Return (sign, value) for each sign; the value says where it is not readable."""
    return [
        ("load average a CPU, before the start", _text(seen.load_per_cpu, "{:.2f}")),
        ("CPU time of this process", _text(seen.own_percent, "{:.1f} %")),
        ("CPU time of other processes", _text(seen.others_percent, "{:.1f} %")),
        ("CPU time given to other virtual machines", _text(seen.stolen_percent, "{:.1f} %")),
        ("CPU time kept by a quota", _text(seen.held_back_percent, "{:.1f} %")),
        (
            "involuntary switches a second of CPU time",
            _text(seen.involuntary_switches_per_s, "{:.0f}"),
        ),
        ("time in which a thread waited for a CPU", _text(seen.waiting_percent, "{:.0f} %")),
        ("threads running or waiting, median", _text(seen.running_median, "{:g}")),
        ("CPU clock", _clock(seen.clock)),
        ("governor", _text(seen.governor, "{}")),
        ("CPUs slowed by heat", _text(seen.slowed_by_heat, "{} times")),
        ("pages waited for from a disk", _text(seen.major_faults, "{}")),
        ("read back from swap", _text(seen.swapped_in_mb, "{:.1f} MB")),
        ("largest step of the wall clock", _text(seen.clock_step_s, "{:.3f} s")),
        ("suspended", _text(seen.suspended_s, "{:z.1f} s")),
        ("peak memory", _text(seen.peak_memory_mb, "{:.0f} MB")),
        ("CPU energy", _text(seen.cpu_energy_j, "{:.1f} J")),
        *(_gpu_rows(seen.gpu) if seen.gpu is not None else ()),
    ]


def _gpu_rows(gpu: GpuConditions) -> list[tuple[str, str]]:
    slowed = gpu.slowed_percent
    reasons = ", ".join(f"{reason} {percent:.0f} %" for reason, percent in (slowed or {}).items())
    return [
        ("GPU clock", _clock(gpu.clock)),
        ("GPU clock kept down", NOT_READABLE if slowed is None else reasons or "never"),
        ("GPU temperature, highest", _text(gpu.hottest_c, "{:.0f} °C")),
        ("other processes on the GPU", _text(gpu.other_processes, "{}")),
        ("GPU memory, peak", _text(gpu.peak_memory_mb, "{:.0f} MB")),
        ("GPU energy", _text(gpu.energy_j, "{:.1f} J")),
    ]


def _clock(clock: Clock | None) -> str:
    if clock is None:
        return NOT_READABLE
    return f"{clock.min_mhz:.0f} to {clock.max_mhz:.0f} MHz, median {clock.median_mhz:.0f}"


def _text(value: object, form: str) -> str:
    return NOT_READABLE if value is None else form.format(value)
