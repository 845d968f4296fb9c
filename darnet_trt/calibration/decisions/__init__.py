"""Compare decisions, and decide whether int8 keeps them."""
