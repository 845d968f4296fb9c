"""Labelled cohorts: which scans, of which patients and classes."""

from darnet_trt.scan.cohorts.classes import PAPER_CLASSES, POSITIVE, class_named, parse_classes
from darnet_trt.scan.cohorts.table import (
    COLUMNS,
    PHANTOM_MODEL,
    PLAN,
    TABLE,
    Cohort,
    Entry,
    describes_phantoms,
    is_phantom,
    read_cohort,
)

__all__ = [
    "COLUMNS",
    "PAPER_CLASSES",
    "PHANTOM_MODEL",
    "PLAN",
    "POSITIVE",
    "TABLE",
    "Cohort",
    "Entry",
    "class_named",
    "describes_phantoms",
    "is_phantom",
    "parse_classes",
    "read_cohort",
]
