"""From the files of a scan to its result: with a loaded engine, and in new processes."""
