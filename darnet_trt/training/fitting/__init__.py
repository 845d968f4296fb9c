"""The parts of the training loop in `training/fit.py`."""
