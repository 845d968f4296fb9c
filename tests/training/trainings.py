"""Start trainings in other processes; see `one_training.py`."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

from tests.training import one_training

ROOT = Path(__file__).parents[2]


class Trainings:
    def __init__(self, process):
        self._process = process

    def start(self, inputs, run, recipe, **options):
        """Start one and return its process's number."""
        asked = {"inputs": str(inputs), "run": str(run), "recipe": recipe, **options}
        return self._ask(asked)

    def command(self, words, output, **environment):
        """Start a command whose lines go to a file, and return its process's number."""
        asked = {"words": [*map(str, words)], "output": str(output), **environment}
        return self._ask(asked)

    def wait(self, process):
        """Return the exit code."""
        return self._ask(process)

    def _ask(self, what):
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def trainings(log):
    """Yield `Trainings`, whose errors go to a file."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, one_training.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
        ) as process,
    ):
        yield Trainings(process)
        process.stdin.close()


def weights(run):
    """All weights that a training wrote, as one vector."""
    found = torch.load(run / "weights.pt", weights_only=True)
    return torch.cat([value.flatten().double() for value in found.values()])
