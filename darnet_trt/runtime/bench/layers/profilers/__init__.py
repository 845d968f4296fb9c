"""Each backend's own profiler."""
