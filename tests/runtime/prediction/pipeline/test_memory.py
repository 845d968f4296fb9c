"""The plan keeps the bound that it was given."""

import pytest

from darnet_trt.bundle.reading import open_bundle, pick_artifact
from darnet_trt.errors import UsageError
from darnet_trt.machine.memory import free_memory, shown
from darnet_trt.runtime.prediction.pipeline.memory import LEAST_OF_OBJECTS, LEAST_SHARE, planned
from darnet_trt.scan.isolated import MEMORY


@pytest.mark.parametrize("memory", [900_000_000, 1_500_000_000, 4_000_000_000, 10**12])
@pytest.mark.parametrize("objects", [False, True])
def test_the_bound_is_kept(tiny, memory, objects):
    bundle = open_bundle(tiny)
    plan = planned(bundle, pick_artifact(bundle, None), 4, memory, objects=objects)
    assert plan.most <= memory
    assert 1 <= plan.workers <= 4
    assert (LEAST_OF_OBJECTS if objects else LEAST_SHARE) <= plan.share <= MEMORY
    assert plan.whole >= plan.share
    assert f"at most {shown(plan.most)}: engine" in str(plan)
    assert (f"{plan.results} results with DICOM objects" in str(plan)) == objects


def test_too_little_names_the_least_that_is_enough(tiny):
    bundle = open_bundle(tiny)
    artifact = pick_artifact(bundle, None)
    with pytest.raises(UsageError, match="--memory") as caught:
        planned(bundle, artifact, 2, 100_000_000)
    words = str(caught.value.do).removeprefix("give at least ").split()
    least = float(words[0]) * {"MB": 1e6, "GB": 1e9}[words[1]]
    assert planned(bundle, artifact, 2, int(least)).workers == 1


def test_a_full_machine_gets_one_worker(tiny):
    bundle = open_bundle(tiny)
    assert planned(bundle, pick_artifact(bundle, None), 8, None, lambda: 0).workers == 1


def test_the_least_limit_of_all_groups_counts(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    for group, most, used in (("a", "5000000", "1000000"), ("a/b", "max", "77")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "memory.max").write_text(most)
        (tmp_path / group / "memory.current").write_text(used)
    words = (tmp_path / "meminfo", tmp_path, tmp_path / "cgroup")
    assert free_memory(*words) == 4_000_000
    (tmp_path / "a" / "memory.max").write_text("max")
    assert free_memory(*words) == 8000 * 1024
    assert free_memory(tmp_path / "none") > 2**60
    assert free_memory() > 0
