"""Where the time goes inside an engine: its layers, grouped by the network's blocks."""
