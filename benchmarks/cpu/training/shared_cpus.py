"""Time training steps beside a busy process: OpenMP threads that spin against ones that sleep.

    python -m benchmarks.cpu.training.shared_cpus [--rounds 3]

Each turn is its own process, because OpenMP reads its policy only once. The first turns run alone,
the others beside a process that keeps one CPU busy. Printed are seconds a step, the median of 10.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

POLICIES = ("ACTIVE by default", "PASSIVE")
STEPS = """
import time, torch
from darnet_trt.training.model import DARNet, Network
from darnet_trt.training.presets import PRESETS
size = PRESETS["small"]
model = DARNet(Network(width=size.width, input_size=size.input_size), fused=True).train()
x, times = torch.rand(4, 1, *size.input_size), []
optimizer = torch.optim.Adam(model.parameters())
for _ in range(12):
    started = time.perf_counter()
    optimizer.zero_grad()
    model(x)[0].square().mean().backward()
    optimizer.step()
    times.append(time.perf_counter() - started)
print(sorted(times[2:])[5])
"""


def step_seconds(policy: str) -> float:
    """Return the median step of one process."""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    if policy == "PASSIVE":
        environment["OMP_WAIT_POLICY"] = policy
    run = [sys.executable, "-c", STEPS]
    return float(subprocess.run(run, env=environment, capture_output=True, check=True).stdout)


def main() -> None:
    """Run both policies in turns, without and with a busy process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for neighbour in (False, True):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if neighbour else None
        try:
            for _ in range(rounds):
                found = [f"{policy} {step_seconds(policy):.3f} s" for policy in POLICIES]
                print("beside a busy process:" if busy else "alone:", ", ".join(found), flush=True)
        finally:
            if busy is not None:
                busy.kill()


if __name__ == "__main__":
    main()
