"""Phantoms as files: DICOM series, volumes, slice pictures."""
