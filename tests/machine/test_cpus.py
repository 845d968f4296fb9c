import math
import os
import subprocess
import sys

import pytest

from darnet_trt.machine.cpus import cgroup_quota, share_cpus, usable_cpus

MEMBERSHIP = "9:name=systemd:/\n0::/system.slice/scanner.service\n"


def limit(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(text)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_cpu_affinity():
    before = os.sched_getaffinity(0)
    assert 1 <= usable_cpus() <= len(before)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_without_cpu_affinity():
    code = "import os, sys; vars(os).pop('sched_getaffinity', None)\n"
    code += "import darnet_trt.machine.cpus as c; "
    code += "sys.exit(not 1 <= c.usable_cpus() <= os.cpu_count())"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_lowest_limit_of_a_group_and_its_parents_holds(tmp_path):
    assert cgroup_quota(tmp_path, MEMBERSHIP) == math.inf
    limit(tmp_path / "system.slice" / "scanner.service", "max 100000\n")
    assert cgroup_quota(tmp_path, MEMBERSHIP) == math.inf
    limit(tmp_path / "system.slice", "150000 100000\n")
    assert cgroup_quota(tmp_path, MEMBERSHIP) == 1.5
    limit(tmp_path / "system.slice" / "scanner.service", "50000 100000\n")
    assert cgroup_quota(tmp_path, MEMBERSHIP) == 0.5


def test_a_container_sees_its_own_group_as_the_top(tmp_path):
    limit(tmp_path, "200000 100000\n")
    assert cgroup_quota(tmp_path, "0::/\n") == 2


def test_threads_sleep_while_they_wait_unless_the_user_chose(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    share_cpus()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    share_cpus()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
