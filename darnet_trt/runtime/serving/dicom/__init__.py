"""The DICOM door: C-STORE, C-ECHO and storage commitment, by pynetdicom."""
