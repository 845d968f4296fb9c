"""Choose the scans that calibrate and the scans that judge."""
