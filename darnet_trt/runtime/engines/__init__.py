"""The backends: one folder and one runner each."""
