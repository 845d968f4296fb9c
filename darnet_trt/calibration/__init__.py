"""INT8: calibration data, activation statistics, Q/DQ graphs, sensitivity."""
