"""Metrics and their intervals, without torch."""
