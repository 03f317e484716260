"""Registers the boxes of NIH ChestX-ray14 and RSNA."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"nih_boxes": "heatproof_nih_boxes.nih_boxes:NihBoxes"}
