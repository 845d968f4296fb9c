"""Scans in one file: NIfTI, NRRD, MetaImage."""
