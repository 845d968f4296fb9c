"""Keep what comes in: every acknowledged file is on the disk, once, under a name of our own."""
