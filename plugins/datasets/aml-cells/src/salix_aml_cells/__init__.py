"""Registers AML-Cytomorphology_LMU."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"aml_cells": "salix_aml_cells.aml_cells:AmlCells"}
