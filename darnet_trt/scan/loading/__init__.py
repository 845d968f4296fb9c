"""Choose the series of a study, and turn it into the network's input."""
