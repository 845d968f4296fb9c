"""The classes, in the order of the logits. Apart from the model, so that tables need no torch."""

__all__ = ["CLASSES"]

CLASSES = ("covid-19", "common-pneumonia", "normal")
