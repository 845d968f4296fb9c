import sys

import pytest

from darnet_trt.errors import UsageError
from darnet_trt.machine.memory import free_memory, shown, size_of


def test_the_least_of_the_system_and_of_the_groups_above_is_free(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 1000 kB\n")
    (tmp_path / "membership").write_text("9:name=systemd:/\n0::/system.slice/scanner.service\n")
    group = tmp_path / "system.slice" / "scanner.service"
    group.mkdir(parents=True)
    files = (tmp_path / "meminfo", tmp_path, tmp_path / "membership")
    assert free_memory(*files) == 1_024_000
    for folder, most in ((group, "max"), (group.parent, "900000")):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text("100000\n")
    assert free_memory(*files) == 800_000
    (group / "memory.max").write_text("50000\n")
    assert free_memory(*files) == 0, "more is used than is allowed"
    assert free_memory(tmp_path / "none") == sys.maxsize


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 * 2**30), ("1500 m", 1500 * 2**20), ("1.5GiB", 3 * 2**29)]
)
def test_a_size(text, size):
    assert size_of(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "much", "-1G", "4X", "1e9"])
def test_no_size(text):
    with pytest.raises(UsageError, match=r"--memory: .* is not a size"):
        size_of(text, "--memory")


@pytest.mark.parametrize("text", ["0 KiB", "8 KiB", "1 MiB", "296 MiB", "1.0 GiB", "2048.0 GiB"])
def test_a_size_is_shown_in_the_units_in_which_it_is_given(text):
    assert shown(size_of(text, "--memory")) == text
