"""Find the studies under a path: what a file is, what belongs together, and what cannot be read."""

from darnet_trt.scan.discovery.counts import Counts
from darnet_trt.scan.discovery.distinct import distinct_paths, unseen
from darnet_trt.scan.discovery.examine import Examined, examine
from darnet_trt.scan.discovery.gather import FoundStudy, Gathered, gather
from darnet_trt.scan.discovery.identity import Person
from darnet_trt.scan.discovery.kinds import OBJECTS_SUFFIX, OVERLAY_SUFFIX
from darnet_trt.scan.discovery.places import Place
from darnet_trt.scan.discovery.search import Search, find_studies, find_study, no_scan, search
from darnet_trt.scan.discovery.units import Unit, Units
from darnet_trt.scan.discovery.walk import Listed, Listing, count_files, listings

__all__ = [
    "OBJECTS_SUFFIX",
    "OVERLAY_SUFFIX",
    "Counts",
    "Examined",
    "FoundStudy",
    "Gathered",
    "Listed",
    "Listing",
    "Person",
    "Place",
    "Search",
    "Unit",
    "Units",
    "count_files",
    "distinct_paths",
    "examine",
    "find_studies",
    "find_study",
    "gather",
    "listings",
    "no_scan",
    "search",
    "unseen",
]
