"""The classes, in the order of the logits."""

__all__ = ["CLASSES"]

CLASSES = ("covid-19", "common-pneumonia", "normal")
