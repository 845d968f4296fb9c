"""The service's web page: what was received, what came of it, and why."""
