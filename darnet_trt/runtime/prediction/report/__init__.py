"""One HTML page about many results: what came out, why not, and how fast."""
