"""A synthetic chest CT cohort: anatomy, findings and acquisition, drawn by seed.

It contains no patient's data, and a network trained on it has learned nothing about patients.
"""

from darnet_trt.phantom.classes import plan_classes
from darnet_trt.phantom.cohort import read_regions, write_cohort
from darnet_trt.phantom.plan import FORMATS, CohortPlan
from darnet_trt.phantom.synthesis import Scan, synthesize, synthesize_scan

__all__ = [
    "FORMATS",
    "CohortPlan",
    "Scan",
    "plan_classes",
    "read_regions",
    "synthesize",
    "synthesize_scan",
    "write_cohort",
]
