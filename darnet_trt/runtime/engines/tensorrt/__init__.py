"""The TensorRT and TensorRT-RTX backend."""
