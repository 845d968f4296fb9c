"""Calibrate int8: choose scans, collect activations, quantize, search layers, judge decisions."""
