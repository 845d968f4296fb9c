"""Write a checkpoint as an ONNX graph, and read such graphs."""
