"""A synthetic chest CT cohort: anatomy, findings and acquisition, drawn by seed.

It contains no patient's data, and a network trained on it has learned nothing about patients.
"""

from darnet_trt.phantom.cohort import FORMATS, CohortPlan, write_cohort
from darnet_trt.phantom.synthesis import Scan, synthesize, synthesize_scan

__all__ = [
    "FORMATS",
    "CohortPlan",
    "Scan",
    "synthesize",
    "synthesize_scan",
    "write_cohort",
]
