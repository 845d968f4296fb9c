"""A result as DICOM objects: a structured report, a parametric map, a picture."""
