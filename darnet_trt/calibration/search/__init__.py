"""Search for the int8 engine that keeps the decisions."""
