"""Units of the pixels of DICOM images."""

CT_OFFSET = 1024
"""The offset of CT images to Hounsfield units; it makes air (-1000) positive."""
