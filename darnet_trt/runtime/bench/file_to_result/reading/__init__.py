"""Measure a scan's way to the network's input: headers, decoding, preprocessing."""
