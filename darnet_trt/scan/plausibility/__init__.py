"""Check that the values are Hounsfield units, and of a chest."""
