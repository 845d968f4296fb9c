"""A synthetic chest CT cohort: anatomy, findings and acquisition, drawn by seed.

No patient's data went into it, and nothing learned from it says anything about patients.
"""

from darnet_trt.phantom.body.disease import LABELS
from darnet_trt.phantom.cohort import FORMATS, CohortPlan, write_cohort
from darnet_trt.phantom.synthesis import Scan, synthesize, synthesize_scan

__all__ = [
    "FORMATS",
    "LABELS",
    "CohortPlan",
    "Scan",
    "synthesize",
    "synthesize_scan",
    "write_cohort",
]
