"""Say whether software has become slower than an earlier measurement of it."""
