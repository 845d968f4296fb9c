"""A watch over a tree of files like Linux's, in which a test writes what happens."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from darnet_trt.runtime.bench.signs import clocks
from darnet_trt.runtime.bench.signs.conditions import Conditions
from darnet_trt.runtime.bench.signs.counters import allowed_cpus
from darnet_trt.runtime.bench.signs.table import NOT_READABLE, rows
from darnet_trt.runtime.bench.signs.watch import Watch

TICKS = os.sysconf("SC_CLK_TCK")
CPUS = allowed_cpus()


class Machine:
    """Writes /proc and /sys of a bare Linux machine below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cpu_time(busy_s=100, idle_s=1000, stolen_s=0)
        self.write("proc/loadavg", "0.10 0.20 0.30 2/345 999\n")
        self.write("proc/pressure/cpu", pressure(0))
        self.write("proc/vmstat", "pgfault 9\npswpin 3\n")
        self.write("proc/self/status", "Name:\tpython\nVmHWM:\t  5000 kB\nVmRSS:\t  4000 kB\n")
        self.write("proc/self/clear_refs", "")
        self.write("proc/self/cgroup", "0::/\n")
        for cpu in CPUS:
            self.of_cpu(cpu, "cpufreq/scaling_cur_freq", 3_000_000)
            self.of_cpu(cpu, "cpufreq/scaling_governor", "powersave")
            self.of_cpu(cpu, "cpufreq/scaling_driver", "intel_pstate")
            self.of_cpu(cpu, "thermal_throttle/core_throttle_count", 7)
            self.of_cpu(cpu, "thermal_throttle/core_throttle_max_time_ms", 9)
            self.of_cpu(cpu, "thermal_throttle/package_throttle_count", 5)
        for zone, name in (("0", "package-0"), ("0:0", "core"), ("1", "package-1"), ("2", "psys")):
            self.energy(zone, name, 1_000_000)

    def write(self, path: str, content: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}")

    def of_cpu(self, cpu: int, name: str, content: object) -> None:
        self.write(f"sys/devices/system/cpu/cpu{cpu}/{name}", f"{content}\n")

    def energy(self, zone: str, name: str, used_uj: int) -> None:
        folder = f"sys/class/powercap/intel-rapl:{zone}"
        self.write(f"{folder}/name", f"{name}\n")
        self.write(f"{folder}/max_energy_range_uj", "10000000\n")
        self.write(f"{folder}/energy_uj", f"{used_uj}\n")

    def cpu_time(self, *, busy_s: float, idle_s: float, stolen_s: float) -> None:
        """Set the time of each allowed CPU; another one is always busy."""
        user, idle, stolen = (int(s * TICKS) for s in (busy_s, idle_s, stolen_s))
        lines = [f"cpu{cpu} {user} 0 0 {idle} 0 0 0 {stolen} 50 0" for cpu in CPUS]
        other = f"cpu{max(CPUS) + 1} {int(time.monotonic() * TICKS)} 0 0 0 0 0 0 0 0 0"
        self.write("proc/stat", "\n".join(["cpu  1 2 3 4", *lines, other, "procs_running 3\n"]))


def pressure(waited_us: int) -> str:
    zeros = "avg10=0.00 avg60=0.00 avg300=0.00"
    return f"some {zeros} total={waited_us}\nfull {zeros} total=0\n"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def watched(machine, happens=lambda: None, **options) -> Conditions:
    with Watch(root=machine.root, **options) as watch:
        happens()
    return watch.conditions


def test_nothing_happens(machine):
    seen = watched(machine)
    assert seen.others_percent is None  # no tick has passed
    assert seen.held_back is None
    assert (seen.slowed_by_heat, seen.swapped_in_mb, seen.waiting_percent) == (0, 0, 0)
    assert (seen.running_median, seen.governor) == (1, "powersave (intel_pstate)")
    assert (seen.cpu_energy_j, seen.gpu, seen.notes) == (0, None, ())


def test_cpu_time_of_others_and_of_the_hypervisor_on_the_allowed_cpus(machine):
    seen = watched(machine, lambda: machine.cpu_time(busy_s=1100, idle_s=1850, stolen_s=150))
    assert seen.others_percent == pytest.approx(50, abs=1)  # this process takes a little of 1,000 s
    assert seen.stolen_percent == pytest.approx(7.5)


def test_a_machine_that_counts_nothing_is_not_readable(machine):
    machine.cpu_time(busy_s=0, idle_s=0, stolen_s=0)
    seen = watched(machine)
    assert (seen.others_percent, seen.stolen_percent) == (None, None)


@pytest.mark.parametrize(
    ("membership", "files", "before", "after"),
    [
        (
            "0::/app.slice/bench\n",
            ["app.slice/bench", "app.slice"],
            "usage_usec 5\nnr_throttled 2\nthrottled_usec 1000\n",
            "usage_usec 5\nnr_throttled 5\nthrottled_usec 9001000\n",
        ),
        (
            "4:memory:/x\n3:cpu,cpuacct:/docker/abc\n",
            ["cpu,cpuacct/docker/abc", "cpu,cpuacct"],
            "nr_throttled 2\nthrottled_time 1000000\n",
            "nr_throttled 5\nthrottled_time 9001000000\n",
        ),
        # In a container the path is the host's, and the mounted group is the container's own.
        (
            "3:cpu:/docker/abc\n",
            ["cpu"],
            "nr_throttled 2\nthrottled_time 0\n",
            "nr_throttled 5\nthrottled_time 9000000000\n",
        ),
    ],
)
def test_a_quota_of_any_group_above_holds_it_back(machine, membership, files, before, after):
    first = f"sys/fs/cgroup/{files[0]}/cpu.stat"
    machine.write("proc/self/cgroup", membership)
    for folder in files:
        machine.write(f"sys/fs/cgroup/{folder}/cpu.stat", before)
    seen = watched(machine, lambda: machine.write(first, after))
    assert seen.held_back == 3
    assert seen.held_back_percent == pytest.approx(100 * 9 / seen.duration_s / seen.cpus)


def test_heat_swap_and_waiting(machine):
    def happens():
        machine.of_cpu(CPUS[0], "thermal_throttle/core_throttle_count", 9)
        machine.of_cpu(CPUS[0], "thermal_throttle/package_throttle_count", 6)
        machine.of_cpu(CPUS[0], "thermal_throttle/core_throttle_max_time_ms", 900)
        machine.write("proc/vmstat", "pswpin 103\n")
        machine.write("proc/pressure/cpu", pressure(1))
        machine.write("proc/loadavg", "0.10 0.20 0.30 9/345 999\n")

    seen = watched(machine, happens)
    assert seen.slowed_by_heat == 3
    assert seen.swapped_in_mb == pytest.approx(100 * os.sysconf("SC_PAGE_SIZE") / 1e6)
    assert 0 < seen.waiting_percent < 100
    assert seen.running_max == 8


def test_the_energy_of_all_packages_also_where_a_counter_starts_again(machine):
    def happens():
        machine.energy("0", "package-0", 3_500_000)
        machine.energy("0:0", "core", 3_000_000)
        machine.energy("1", "package-1", 500_000)

    assert watched(machine, happens).cpu_energy_j == pytest.approx(2.5 + 9.5)


def test_a_turn_s_energy_is_a_difference(machine):
    with Watch(root=machine.root) as watch:
        before = watch.energy()
        machine.energy("0", "package-0", 3_500_000)
        assert watch.energy().cpu_j - before.cpu_j == pytest.approx(2.5)
        assert watch.energy().gpu_j is None


def test_locked_energy_counters_say_what_to_do(machine):
    (machine.root / "sys/class/powercap/intel-rapl:1/energy_uj").unlink()  # root reads locked files
    seen = watched(machine)
    assert seen.cpu_energy_j is None
    assert "energy_uj" in seen.notes[0]


def test_peak_memory_is_the_kernel_s_after_it_is_set_back(machine):
    seen = watched(machine)
    assert (machine.root / "proc/self/clear_refs").read_text() == "5"
    assert (seen.peak_memory_mb, seen.peak_memory_from) == (5.12, "kernel")


def test_peak_memory_is_the_largest_sample_where_the_kernel_s_cannot_be_set_back(machine):
    (machine.root / "proc/self/clear_refs").unlink()
    seen = watched(machine, lambda: machine.write("proc/self/status", "VmRSS:\t  3000 kB\n"))
    assert (seen.peak_memory_mb, seen.peak_memory_from) == (4.096, "samples")


def test_a_clock_that_is_set_and_a_machine_that_slept(machine, monkeypatch):
    real = clocks.ahead_s
    extra = {time.CLOCK_REALTIME: 0.0, time.CLOCK_BOOTTIME: 0.0}
    monkeypatch.setattr(clocks, "ahead_s", lambda clock: real(clock) + extra[clock])
    seen = watched(
        machine, lambda: extra.update({time.CLOCK_REALTIME: -3.0, time.CLOCK_BOOTTIME: 60.0})
    )
    assert seen.clock_step_s == pytest.approx(3, abs=0.1)
    assert seen.suspended_s == pytest.approx(60, abs=0.1)


def test_a_container_that_shows_nothing(tmp_path):
    with Watch(root=tmp_path) as watch:
        pass
    shown = dict(rows(watch.conditions))
    assert [sign for sign, value in shown.items() if value == NOT_READABLE] == [
        "CPU time of other processes",
        "CPU time given to other virtual machines",
        "CPU time kept by a quota",
        "time in which a thread waited for a CPU",
        "threads running or waiting, median",
        "CPU clock",
        "governor",
        "CPUs slowed by heat",
        "read back from swap",
        "peak memory",
        "CPU energy",
    ]


def test_what_was_seen_until_an_interruption_is_kept(machine):
    watch = Watch(root=machine.root)
    with pytest.raises(KeyboardInterrupt), watch:
        raise KeyboardInterrupt
    assert watch.conditions.duration_s > 0


def test_this_machine():
    with Watch() as watch:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    seen = watch.conditions
    assert seen.own_percent > 0
    assert seen.duration_s >= 0.1
    assert Conditions.model_validate_json(seen.model_dump_json()) is not None


def test_the_time_of_a_child_is_this_process_s_own():
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    with Watch() as watch:
        subprocess.run([sys.executable, "-c", burn], check=True)
    seen = watch.conditions
    # The kernel counts a process in ticks of 10 ms and drops what is less.
    assert seen.own_percent / 100 * seen.duration_s * seen.cpus >= 0.2


def test_the_time_of_a_process_that_is_no_child_is_others():
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint('done')"
    orphan = ["sh", "-c", '"$0" -c "$1" &', sys.executable, burn]  # the shell ends at once
    with Watch() as watch:
        said = subprocess.run(orphan, stdout=subprocess.PIPE, check=True)  # until the orphan ends
    assert said.stdout == b"done\n"
    seen = watch.conditions
    if seen.others_percent is None:
        pytest.skip("this machine does not count CPU time")
    # By ticks of 10 ms, which may miss some of it.
    assert seen.others_percent / 100 * seen.duration_s * seen.cpus > 0.2
