"""The network that the training tests train in seconds."""

import numpy as np

from darnet_trt.scan import Preprocessing
from darnet_trt.scan.cohorts import PAPER_CLASSES, Entry
from darnet_trt.training.inputs import Example
from darnet_trt.training.model import Network

TINY = Network(width=4, input_size=(8, 16, 16))
SPEC = Preprocessing(size=TINY.input_size)


def random_examples(folder, network, count):
    """Write inputs of random numbers, of each class in turn."""
    rng = np.random.default_rng(0)
    examples = []
    for index in range(count):
        file = folder / f"input{index}.npz"
        volume = rng.random((1, *network.input_size)).astype(np.float16)
        np.savez(file, volume=volume, pixel_mm=1.5)
        entry = Entry(folder / f"scan{index}", f"p{index}", PAPER_CLASSES[index % 3])
        examples.append(Example(entry, file, SPEC))
    return tuple(examples)
