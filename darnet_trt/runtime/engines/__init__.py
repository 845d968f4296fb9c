"""One folder a backend, one runner each."""
