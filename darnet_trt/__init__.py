"""darnet-trt: edge inference for the dual-attention 3D ResNet18 (arXiv 2105.06779)."""

__version__ = "0.1.0"
