"""Registers AML-Cytomorphology_LMU."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"aml_cells": "heatproof_aml_cells.aml_cells:AmlCells"}
