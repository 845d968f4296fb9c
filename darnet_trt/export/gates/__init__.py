"""Compare each engine with the reference before it enters a bundle."""
