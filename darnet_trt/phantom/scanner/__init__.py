"""The synthetic scanner: grid, rendering, noise."""
