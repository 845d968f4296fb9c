"""From places to inputs: processes find and load scans ahead of the engine, within bounds."""
