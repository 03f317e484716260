"""DICOM beside its pictures: headers, series of slices, and writing; for plugins of heatproof."""
