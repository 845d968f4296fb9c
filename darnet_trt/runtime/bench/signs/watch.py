"""Watch the machine while something is measured."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Final, NamedTuple, Self

from darnet_trt.runtime.bench.signs.clocks import WallClock, slept_s
from darnet_trt.runtime.bench.signs.conditions import Clock, Conditions
from darnet_trt.runtime.bench.signs.counters import Counters, allowed_cpus, counters
from darnet_trt.runtime.bench.signs.cpu_clock import fastest_mhz, governor
from darnet_trt.runtime.bench.signs.energy import CpuEnergy
from darnet_trt.runtime.bench.signs.gpu import GpuWatch, open_gpu
from darnet_trt.runtime.bench.signs.memory import PeakMemory
from darnet_trt.runtime.bench.signs.readable import readable

SAMPLE_EVERY_S: Final = 0.25


class Energy(NamedTuple):
    """Hold the joules of all CPU packages and of the GPU's board; None: not readable here."""

    cpu_j: float | None
    gpu_j: float | None


class Watch:
    """Records what else the machine does until the end of the `with` block.

    What the kernel counts is read at the start and at the end; a thread samples the rest.

    Args:
        gpu: Whether a GPU is at work.
        root: Where /proc and /sys are.
    """

    def __init__(self, *, gpu: bool = False, root: Path = Path("/")) -> None:
        self._on_gpu, self._root = gpu, root
        self._gpu: GpuWatch | None = None
        self._gpu_note: str | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="bench-watch", daemon=True)
        self._running: list[int] = []
        self._clocks_mhz: list[float] = []
        self._watcher_s = 0.0
        self._conditions: Conditions | None = None

    def __enter__(self) -> Self:
        if self._on_gpu:
            self._gpu, self._gpu_note = open_gpu()
        self._load_per_cpu = readable(lambda: os.getloadavg()[0] / (os.cpu_count() or 1))
        self._wall = WallClock()
        self._slept_s = readable(slept_s)
        self._energy = CpuEnergy(self._root)
        self._memory = PeakMemory(self._root)
        self._before = counters(self._root)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self._conditions = self._summary(counters(self._root))

    @property
    def conditions(self) -> Conditions:
        """Return what was seen, after the block; also after an interrupted one."""
        assert self._conditions is not None, "the measurement is still running"
        return self._conditions

    def energy(self) -> Energy:
        """Return the energy so far: what a turn used is the difference of two of these."""
        return Energy(self._energy.joules(), None if self._gpu is None else self._gpu.joules())

    def _follow(self) -> None:
        """Sample until the end, and at the end."""
        start = time.thread_time()
        while not self._end.wait(SAMPLE_EVERY_S):
            self._look()
        self._look()
        self._watcher_s = time.thread_time() - start

    def _look(self) -> None:
        self._wall.look()
        self._memory.look()
        self._energy.joules()
        running = readable(lambda: _running(self._root))
        self._running += [] if running is None else [running]
        clock_mhz = fastest_mhz(self._root)
        self._clocks_mhz += [] if clock_mhz is None else [clock_mhz]
        if self._gpu is not None:
            self._gpu.look()

    def _summary(self, after: Counters) -> Conditions:
        before = self._before
        passed_s = after.at_s - before.at_s
        cpus = len(allowed_cpus())
        own_s = after.tree_cpu_s - before.tree_cpu_s
        others, stolen = _shares(before, after, own_s)
        waited_s = _since(before.waited_s, after.waited_s)
        held, again = before.throttling, after.throttling
        slept = _since(self._slept_s, readable(slept_s))
        swapped_in = _since(before.swapped_in_bytes, after.swapped_in_bytes)
        slowed = _since(before.slowed_by_heat, after.slowed_by_heat)
        notes = (self._energy.note, self._gpu_note)
        return Conditions(
            duration_s=passed_s,
            cpus=cpus,
            load_per_cpu=self._load_per_cpu,
            own_percent=100 * own_s / passed_s / cpus,
            others_percent=others,
            stolen_percent=stolen,
            held_back_percent=None
            if held is None or again is None
            else 100 * (again.cpu_s - held.cpu_s) / passed_s / cpus,
            held_back=None if held is None or again is None else again.times - held.times,
            involuntary_switches_per_s=(after.involuntary_switches - before.involuntary_switches)
            / max(after.own_cpu_s - before.own_cpu_s, 0.01),  # the least that was once a tick
            waiting_percent=None if waited_s is None else min(100 * waited_s / passed_s, 100),
            running_median=median(self._running) if self._running else None,
            running_max=max(self._running, default=None),
            clock=Clock.of(self._clocks_mhz),
            governor=governor(self._root),
            slowed_by_heat=None if slowed is None else int(slowed),
            major_faults=after.major_faults - before.major_faults,
            swapped_in_mb=None if swapped_in is None else swapped_in / 1e6,
            clock_step_s=self._wall.step_s,
            suspended_s=slept,
            peak_memory_mb=self._memory.most_mb(),
            peak_memory_from=self._memory.source,
            cpu_energy_j=self._energy.joules(),
            gpu=None if self._gpu is None else self._gpu.conditions(),
            watcher_percent=100 * self._watcher_s / passed_s,
            notes=tuple(note for note in notes if note is not None),
        )


def _shares(before: Counters, after: Counters, own_s: float) -> tuple[float | None, float | None]:
    """Return the percentage of the allowed CPUs' time that others took, and the hypervisor."""
    if before.cpu is None or after.cpu is None:
        return None, None
    busy_s, stolen_s, all_s = (now - then for now, then in zip(after.cpu, before.cpu, strict=True))
    if all_s <= 0:  # gVisor shows a file full of zeros
        return None, None
    # The kernel counts the CPUs in ticks and processes more finely: the difference can be negative.
    return 100 * max(busy_s - own_s, 0.0) / all_s, 100 * stolen_s / all_s


def _since(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _running(root: Path) -> int:
    """Return how many threads run or wait for a CPU, without the one that reads (proc(5))."""
    running = (root / "proc/loadavg").read_text().split()[3].partition("/")[0]
    return max(int(running) - 1, 0)
