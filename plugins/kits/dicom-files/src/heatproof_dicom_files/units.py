"""Units of the pixels of DICOM pictures."""

CT_OFFSET = 1024
"""What a picture of CT has more than Hounsfield units, so that air (-1000) is above zero."""
