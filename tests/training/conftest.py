"""Tiny preprocessed inputs, so that the training loop's tests need no scans."""

import numpy as np
import pytest
import torch

from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry
from darnet_trt.training.inputs import Example
from tests.training.tiny_network import TINY


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Threads of other tests' processes would make these tiny networks wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_examples(tmp_path):
    """Twelve inputs of the tiny network, four of each class."""
    rng = np.random.default_rng(0)
    examples = []
    for index in range(12):
        file = tmp_path / f"input{index}.npz"
        volume = rng.random((1, *TINY.input_size)).astype(np.float16)
        np.savez(file, volume=volume, pixel_mm=1.5)
        entry = Entry(tmp_path / f"scan{index}", f"p{index}", PAPER_CLASSES[index % 3])
        examples.append(Example(entry, file))
    return tuple(examples)
