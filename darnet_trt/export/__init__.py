"""Checkpoint to ONNX, engines and bundle."""
