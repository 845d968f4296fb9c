"""Compare the answers of the engines that are measured against each other."""
