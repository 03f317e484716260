"""Headers and series of DICOM files, and writing DICOM, for plugins of heatproof."""
