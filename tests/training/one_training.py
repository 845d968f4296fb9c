"""Trainings of the tiny network in processes of their own, to be killed or to train together.

    python tests/training/one_training.py

imports torch once, and forks for each line {"inputs": …, "run": …, "recipe": …} that it reads; it
answers with the process's number. For a line with such a number it waits, and answers with the exit
code. RUN/weights.pt and RUN/history.csv are the result of a training. {"words": …, "output": …} is
a command of darnet-trt whose lines go to a file.
"""

import json
import os
import sys
from pathlib import Path

import torch

from darnet_trt.cli.main import main as cli
from darnet_trt.errors import DarnetError
from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry
from darnet_trt.training.fit import fit
from darnet_trt.training.fitting import state
from darnet_trt.training.fitting.processes import joined
from darnet_trt.training.inputs import Example
from darnet_trt.training.recipe import Recipe
from tests.training.tiny_network import SPEC, TINY

TRAIN, HELD_OUT = 9, 3


def train(inputs, run, recipe, save_every_s=60.0, **environment):
    os.environ.update(environment)
    state.SAVE_EVERY_S = save_every_s
    every = [
        Example(
            Entry(Path(f"scan{i}"), f"p{i}", PAPER_CLASSES[i % 3]),
            Path(inputs, f"input{i}.npz"),
            SPEC,
        )
        for i in range(TRAIN + HELD_OUT)
    ]
    with joined("cpu") as group:
        model = fit(TINY, every[:TRAIN], every[TRAIN:], Recipe(**recipe), Path(run), group=group)
        if group.leads:
            torch.save(model.state_dict(), Path(run, "weights.pt"))


def command(words, output, **environment):
    os.environ.update(environment)
    with Path(output).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["darnet-trt", *words]
    try:
        cli()
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code or 0)


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(asked, 0)[1])
        elif (answer := os.fork()) == 0:
            try:
                (command if "words" in asked else train)(**asked)
                os._exit(0)
            except DarnetError as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(2)
            finally:
                os._exit(1)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
