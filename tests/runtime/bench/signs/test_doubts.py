"""Each doubt has its number and its limit; an undisturbed machine has none."""

import pytest

from darnet_trt.runtime.bench.signs.conditions import Clock, Conditions, GpuConditions
from darnet_trt.runtime.bench.signs.doubts import doubts
from darnet_trt.runtime.bench.signs.table import NOT_READABLE, rows

QUIET = Conditions(
    duration_s=30.0,
    cpus=4,
    load_per_cpu=0.1,
    own_percent=95.0,
    others_percent=1.0,
    stolen_percent=0.2,
    held_back_percent=0.0,
    held_back=0,
    involuntary_switches_per_s=9.0,
    waiting_percent=3.0,
    running_median=4.0,
    running_max=6,
    clock=Clock.of([3900.0, 3900.0, 3800.0, 3900.0]),
    governor="performance (acpi-cpufreq)",
    slowed_by_heat=0,
    major_faults=2,
    swapped_in_mb=0.0,
    clock_step_s=0.00001,
    suspended_s=0.0,
    peak_memory_mb=900.0,
    peak_memory_from="kernel",
    cpu_energy_j=1500.0,
    watcher_percent=0.1,
)
GPU = GpuConditions(
    name="NVIDIA RTX A2000",
    clock=Clock.of([1500.0]),
    slowed_percent={"power limit": 9.0},
    hottest_c=60.0,
    other_processes=0,
    peak_memory_mb=2000.0,
    energy_j=1000.0,
)


def test_an_undisturbed_machine():
    assert doubts(QUIET.model_copy(update={"gpu": GPU})) == ()


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"others_percent": 34.2}, ["other processes", "34.2 %", "limit 2 %"]),
        ({"others_percent": None, "load_per_cpu": 1.71}, ["1.7", "limit 0.3"]),
        ({"stolen_percent": 12.34}, ["hypervisor", "12.3 %", "limit 2 %"]),
        ({"held_back_percent": 8.0, "held_back": 17}, ["17 times", "8.0 %", "limit 2 %"]),
        ({"major_faults": 90}, ["3.0 pages a second", "limit 1"]),
        ({"slowed_by_heat": 3}, ["3 times", "limit 0"]),
        ({"clock": Clock.of([4000.0, 4000.0, 3000.0, 3000.0])}, ["25.0 %", "limit 5 %"]),
        ({"governor": "powersave (acpi-cpufreq)"}, ["powersave (acpi-cpufreq)"]),
        ({"clock_step_s": 3.21}, ["3.2 s", "limit 0.1 s"]),
        ({"suspended_s": 60.0}, ["60.0 s", "limit 0.1 s"]),
        (
            {"gpu": GPU.model_copy(update={"slowed_percent": {"power limit": 40.0}})},
            ["40 %", "power limit", "limit 10 %"],
        ),
        ({"gpu": GPU.model_copy(update={"other_processes": 1})}, ["1 other process used"]),
    ],
)
def test_each_doubt_names_its_number_and_its_limit(changed, facts):
    (doubt,) = doubts(QUIET.model_copy(update=changed))
    assert [fact for fact in facts if fact not in doubt] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"load_per_cpu": 3.0},  # what others took is known, and was little
        {"governor": "powersave (intel_pstate)"},  # the processor chooses its clock
        {"clock": Clock.of([3000.0, 3000.0, 4000.0, 4000.0])},
        {"involuntary_switches_per_s": 400.0, "waiting_percent": 100.0},  # our own threads may wait
    ],
)
def test_what_is_no_doubt(changed):
    assert doubts(QUIET.model_copy(update=changed)) == ()


def test_what_is_not_readable_raises_no_doubt():
    hidden = {
        name: None
        for name, field in Conditions.model_fields.items()
        if type(None) in getattr(field.annotation, "__args__", ())
    }
    assert len(hidden) > 10
    assert doubts(QUIET.model_copy(update=hidden)) == ()


def test_rows_show_values():
    shown = dict(rows(QUIET.model_copy(update={"gpu": GPU})))
    assert NOT_READABLE not in shown.values()
    assert shown["CPU time of other processes"] == "1.0 %"
    assert shown["CPU clock"] == "3800 to 3900 MHz, median 3900"
    assert shown["GPU clock kept down"] == "power limit 9 %"
