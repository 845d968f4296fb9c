"""Addresses and TLS of both doors."""
