"""Bundles, engine runners, prediction and benchmarks. Never imports torch."""
