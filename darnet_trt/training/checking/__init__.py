"""Look for what gives a cohort's classes away without the lungs, before anything is trained on it.

`darnet-trt cohort check` prints everything that is found; `shortcuts` stops a training.
"""
