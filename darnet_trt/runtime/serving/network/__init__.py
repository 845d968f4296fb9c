"""What both doors share: addresses, TLS, and bounds of memory."""
