"""Check that values are Hounsfield units of a chest, and that it lies as its files say."""
