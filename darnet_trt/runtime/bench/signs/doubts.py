"""Say why times or their ratios may not be trusted, after what else the machine did.

`bench` promises to find a difference of 5 %. What can shift a median by about that is a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from darnet_trt.runtime.bench.signs.conditions import Conditions, GpuConditions

TAKEN_PERCENT: Final = 2.0
"""CPU time that other processes, a hypervisor or a quota took. An engine's threads wait for the
slowest of them: for each percent that others took, the median of a runner on 2 CPUs rose by 1.7 %
in one run and 2.6 % in another (`python -m benchmarks.bench.disturbed`)."""
LOAD_PER_CPU: Final = 0.3
"""Only where the CPU time of others is not readable: one busy process on three CPUs."""
CLOCK_FELL_PERCENT: Final = 5.0
"""A CPU-bound query takes longer by the same share; one step of 100 MHz is some 3 % already."""
MAJOR_FAULTS_PER_S: Final = 1.0
"""A disk answers in some 10 ms, so that one a second is 1 % of the time."""
CLOCK_STEP_S: Final = 0.1
"""Services that set the clock slew what is less: ntpd steps from 0.128 s on (ntpd(8))."""
SUSPENDED_S: Final = 0.1
GPU_SLOWED_PERCENT: Final = 10.0
"""Such a share of the samples reaches the 90th percentile."""
# The first holds the lowest clock and the second raises it late, unless the processor chooses.
_SLOW_GOVERNORS: Final = ("powersave", "conservative")
_OWN_CHOICE: Final = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")


def doubts(conditions: Conditions) -> tuple[str, ...]:
    """Return one sentence for each reason, with its number and limit; empty where there is none.

    A sign that is not readable raises no doubt.
    """
    return (*_of_the_cpus(conditions), *_of_the_clocks(conditions), *_of_the_gpu(conditions.gpu))


def _of_the_cpus(seen: Conditions) -> Iterator[str]:
    others, load = seen.others_percent, seen.load_per_cpu
    if others is not None and others > TAKEN_PERCENT:
        yield f"other processes took {others:.1f} % of the CPUs (limit {TAKEN_PERCENT:g} %)"
    if others is None and load is not None and load > LOAD_PER_CPU:
        yield f"the load average was {load:.1f} a CPU before the start (limit {LOAD_PER_CPU:g})"
    if (stolen := seen.stolen_percent) is not None and stolen > TAKEN_PERCENT:
        yield (
            f"the hypervisor gave {stolen:.1f} % of the CPU time to others "
            f"(limit {TAKEN_PERCENT:g} %)"
        )
    if (held := seen.held_back_percent) is not None and held > TAKEN_PERCENT:
        yield (
            f"the CPU quota of this container or service held it back {seen.held_back} times, for "
            f"{held:.1f} % of the CPU time (limit {TAKEN_PERCENT:g} %)"
        )
    if (faults := seen.major_faults / seen.duration_s) > MAJOR_FAULTS_PER_S:
        yield (
            f"this process waited for {faults:.1f} pages a second from a disk "
            f"(limit {MAJOR_FAULTS_PER_S:g})"
        )


def _of_the_clocks(seen: Conditions) -> Iterator[str]:
    if seen.slowed_by_heat:
        yield f"hot CPUs were slowed {seen.slowed_by_heat} times (limit 0)"
    if (clock := seen.clock) is not None and clock.fell_percent > CLOCK_FELL_PERCENT:
        yield (
            f"the CPU's clock fell by {clock.fell_percent:.1f} % during the measurement "
            f"(limit {CLOCK_FELL_PERCENT:g} %)"
        )
    slow = (seen.governor or "").startswith(_SLOW_GOVERNORS)
    if slow and not any(driver in (seen.governor or "") for driver in _OWN_CHOICE):
        yield f"the governor {seen.governor} keeps the CPU's clock low"
    if seen.clock_step_s > CLOCK_STEP_S:
        yield f"the wall clock was set by {seen.clock_step_s:.1f} s (limit {CLOCK_STEP_S:g} s)"
    if (slept := seen.suspended_s) is not None and slept > SUSPENDED_S:
        yield f"the machine slept for {slept:.1f} s (limit {SUSPENDED_S:g} s)"


def _of_the_gpu(gpu: GpuConditions | None) -> Iterator[str]:
    if gpu is None:
        return
    for reason, percent in (gpu.slowed_percent or {}).items():
        if percent > GPU_SLOWED_PERCENT:
            yield (
                f"the GPU kept its clock down in {percent:.0f} % of the samples: {reason} "
                f"(limit {GPU_SLOWED_PERCENT:g} %)"
            )
    if gpu.other_processes:
        one = gpu.other_processes == 1
        yield f"{gpu.other_processes} other process{'' if one else 'es'} used the GPU (limit 0)"
