"""What a measurement is compared with: an earlier one, and the answers of other engines."""
