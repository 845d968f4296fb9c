"""This computer: its CPU and GPUs, and how files, processes and caches are handled on it."""
