"""Units of the pixels of DICOM images."""

CT_OFFSET = 1024
"""What an image of CT has more than Hounsfield units, so that air (-1000) is above zero."""
