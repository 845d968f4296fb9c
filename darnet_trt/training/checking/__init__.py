"""Look for what gives a cohort's classes away without the lungs, before anything is trained on it.

`darnet-trt cohort check` prints everything that is found; `shortcuts` stops a training.
"""

from darnet_trt.training.checking.check import Check, check
from darnet_trt.training.checking.shortcuts import shortcuts

__all__ = ["Check", "check", "shortcuts"]
