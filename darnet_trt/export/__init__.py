"""Turn a checkpoint into ONNX, engines and a bundle."""
