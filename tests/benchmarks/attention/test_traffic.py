"""What the benchmark counts: torch on the paper's layers, and the fused launches."""

import json
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.attention.tail import paper
from benchmarks.attention.traffic import (
    BLOCKS,
    EAGER,
    STAGES,
    fused,
    map_bytes,
    parameter_bytes,
    problem,
    three_launches,
    unfused,
)
from tests.kernels.attention_cases import make_case


class Counted(TorchDispatchMode):
    """Bytes of every operation's inputs and outputs, views left out."""

    def __init__(self, size_of_a_map):
        super().__init__()
        self.map, self.kernels, self.reads, self.writes = size_of_a_map, 0, 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not any(r.alias_info for r in function._schema.returns):
            maps = [t.numel() == self.map for t in tree_leaves(args) if isinstance(t, torch.Tensor)]
            self.kernels += 1
            self.reads += sum(maps)
            self.writes += result.numel() == self.map
        return result


def tensors(case):
    x, residual = (torch.from_numpy(a).permute(0, 4, 1, 2, 3) for a in (case.x, case.residual))
    return x, residual, *([torch.from_numpy(p) for p in g] for g in (case.channel, case.depth))


def test_the_layers_as_counted_are_the_papers():
    case = make_case((2, 3, 5, 4, 16), weights="float32")
    case.check(paper(*tensors(case)).permute(0, 2, 3, 4, 1).numpy())


def test_torch_runs_the_operations_that_are_counted():
    arguments = tensors(make_case((2, 4, 9, 8, 32), weights="float32"))
    with Counted(arguments[0].numel()) as counted:
        paper(*arguments)
    assert counted.reads == sum(o.reads for o in EAGER) == 7
    assert counted.writes == sum(o.writes for o in EAGER) == 4
    # A flatten of means that are not in the order of their axes may be a copy.
    assert counted.kernels - sum(o.kernels for o in EAGER) in (0, 1)


def test_the_parameters_are_counted_once(on_cpu):
    case = make_case((1, 4, 9, 8, 32), weights="float16")
    stored = sum(p.nbytes for gate in (case.channel, case.depth) for p in gate)
    assert parameter_bytes(case.problem) == stored
    p = problem("stage 1", 2, "float16")
    least = 4 * map_bytes(p) + parameter_bytes(p)
    assert least < fused(on_cpu, p).total < 1.01 * least
    assert unfused(EAGER, p).total == 11 * map_bytes(p) + parameter_bytes(p)


def test_three_launches_are_counted_as_the_kernels_themselves_did():
    # darnet_attention_cost at commit 6bfca65, MB of the eight blocks.
    for kind, moved in (("float16", 1099.3), ("int8", 552.5)):
        counted = sum(BLOCKS * three_launches(problem(s, 1, kind)).total for s in STAGES)
        assert counted / 1e6 == pytest.approx(moved, abs=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it measures")
def test_without_a_gpu_the_benchmark_says_so_and_accounts(on_cpu, tmp_path):
    words = ("-m", "benchmarks.attention.run", "--batch", "1", "-o", tmp_path / "a.json")
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("No NVIDIA GPU that torch sees: nothing is measured.")
    rows = json.loads((tmp_path / "a.json").read_text())["accounting"]
    assert len(rows) == 2 * 4 * 4  # types, stages, variants
    first = rows[0]
    assert first["bytes_read"] + first["bytes_written"] == pytest.approx(413e6, rel=2e-3)
    assert [row["launches"] for row in rows[:4]] == [2, 3, 11, 14]
