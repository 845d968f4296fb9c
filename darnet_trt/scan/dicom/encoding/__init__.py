"""Find how the bytes of a DICOM file and of its frames are laid out."""
