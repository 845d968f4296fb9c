"""What this computer is, and how files, processes and caches are handled on it."""
