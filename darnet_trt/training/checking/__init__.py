"""Look for what gives a cohort's classes away without the lungs, before anything is trained on it.

`check.check` finds everything, for `darnet-trt cohort check`; `shortcuts.shortcuts` stops a
training. They are not imported here: the processes that read scans would then load torch.
"""
