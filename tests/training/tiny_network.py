"""The network that the training tests train in seconds."""

from darnet_trt.training.model import Network

TINY = Network(width=4, input_size=(8, 16, 16))
