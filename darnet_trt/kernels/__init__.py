"""The fused dual attention: one pooling pass, one scaling pass."""
