"""The bundle: its manifest, reading, writing, and which engines to trust."""
