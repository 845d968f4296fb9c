"""GPU memory, streams and CUDA graphs."""
