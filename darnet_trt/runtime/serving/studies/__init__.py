"""Make studies of what came in, and results of these: each file counts in exactly one result."""
