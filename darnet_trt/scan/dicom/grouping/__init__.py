"""Sort slices into studies and series: by geometry and attributes, not by UIDs alone."""
