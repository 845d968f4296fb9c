"""A result, the folder that keeps results, and what is made of them."""
