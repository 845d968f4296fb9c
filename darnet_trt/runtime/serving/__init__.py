"""The service: scans and tensors come in over DICOM and HTTP, and results go out."""
