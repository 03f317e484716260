"""DICOM beside its images: headers, series of slices, and writing; for plugins of heatproof."""
