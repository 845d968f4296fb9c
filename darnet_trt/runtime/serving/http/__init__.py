"""The HTTP door: tensors, scans and DICOM files come in, results and events go out."""
