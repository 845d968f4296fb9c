"""Find the studies under a path: what a file is, what belongs together, and what cannot be read."""

from darnet_trt.scan.discovery.counts import Counts
from darnet_trt.scan.discovery.distinct import distinct_paths, unseen
from darnet_trt.scan.discovery.found import Search
from darnet_trt.scan.discovery.kinds import OVERLAY_SUFFIX
from darnet_trt.scan.discovery.search import find_studies, find_study, search

__all__ = [
    "OVERLAY_SUFFIX",
    "Counts",
    "Search",
    "distinct_paths",
    "find_studies",
    "find_study",
    "search",
    "unseen",
]
