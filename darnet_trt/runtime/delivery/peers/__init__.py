"""Peers: whom objects are sent to, and how each protocol does it."""
