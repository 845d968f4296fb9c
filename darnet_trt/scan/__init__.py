"""Reading scans and turning them into the network's input."""
