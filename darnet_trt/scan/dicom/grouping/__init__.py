"""Sort slices into studies and series by geometry and attributes, and judge how they lie."""
