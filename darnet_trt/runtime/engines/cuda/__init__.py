"""GPU memory, streams and graphs."""
