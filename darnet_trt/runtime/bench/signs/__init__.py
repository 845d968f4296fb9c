"""Record what else the machine did during a measurement, and say when it spoils the times."""
