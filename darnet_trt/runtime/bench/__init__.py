"""Time engines and report the times."""
