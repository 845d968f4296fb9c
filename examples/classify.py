"""Classify chest CT scans with a bundle: python examples/classify.py BUNDLE SCAN…"""

import sys

from darnet_trt import open_bundle, predict

bundle, *scans = sys.argv[1:]
for result in predict(open_bundle(bundle), scans):
    if result.status == "ok":
        print(f"{result.scan}: {result.predicted} {result.probabilities}", *result.warnings)
    else:
        print(f"{result.scan}: {result.status}, {result.reason}")
