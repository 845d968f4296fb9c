"""Collect the activations and derive their ranges."""
