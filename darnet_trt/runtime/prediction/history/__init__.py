"""What earlier runs have read and classified, and what has come since."""
