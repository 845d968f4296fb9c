"""Labelled cohorts: which scans, of which patients and classes, and which of them train."""

from darnet_trt.scan.cohorts.classes import PAPER_CLASSES, POSITIVE, class_named, parse_classes
from darnet_trt.scan.cohorts.cohort import (
    PHANTOM_MODEL,
    PLAN,
    TABLE,
    Cohort,
    Entry,
    describes_phantoms,
    is_phantom,
)
from darnet_trt.scan.cohorts.folds import (
    Folds,
    Sides,
    make_folds,
    named_folds,
    read_folds,
    write_folds,
)
from darnet_trt.scan.cohorts.reading import is_cohort, orders_slices, read_cohort
from darnet_trt.scan.cohorts.split import refuse_untrained, split_by_patient
from darnet_trt.scan.cohorts.studies import study_of
from darnet_trt.scan.cohorts.table import COLUMNS

__all__ = [
    "COLUMNS",
    "PAPER_CLASSES",
    "PHANTOM_MODEL",
    "PLAN",
    "POSITIVE",
    "TABLE",
    "Cohort",
    "Entry",
    "Folds",
    "Sides",
    "class_named",
    "describes_phantoms",
    "is_cohort",
    "is_phantom",
    "make_folds",
    "named_folds",
    "orders_slices",
    "parse_classes",
    "read_cohort",
    "read_folds",
    "refuse_untrained",
    "split_by_patient",
    "study_of",
    "write_folds",
]
