"""Results as DICOM objects, and their way to a PACS."""
