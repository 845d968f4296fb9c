"""Scans come in, and studies, results and events go out."""
