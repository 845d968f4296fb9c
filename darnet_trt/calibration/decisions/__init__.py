"""Compare int8 decisions with those of float32 and judge them."""
