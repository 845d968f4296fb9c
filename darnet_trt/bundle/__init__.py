"""Read and write bundles; say which engines may be chosen automatically."""
