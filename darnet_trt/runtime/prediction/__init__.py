"""Scans to results."""
