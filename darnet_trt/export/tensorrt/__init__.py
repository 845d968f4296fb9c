"""ONNX to TensorRT plans."""
