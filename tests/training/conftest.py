"""Tiny preprocessed inputs, so that the training loop's tests need no scans."""

import pytest
import torch

from tests.training.tiny_network import TINY, random_examples


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
    return random_examples(tmp_path, TINY, 12)
