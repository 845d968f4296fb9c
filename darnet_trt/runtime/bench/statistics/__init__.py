"""Say what times of a runner show: quantiles and ratios with intervals, warm-up, drift, decisions.

All of it takes arrays of times in the order in which they were measured, and needs only numpy.
"""
