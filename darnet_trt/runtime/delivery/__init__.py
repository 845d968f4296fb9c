"""Results as DICOM objects, and their way to whoever shall have them."""
