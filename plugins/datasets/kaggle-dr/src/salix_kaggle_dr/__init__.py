"""Registers the Kaggle diabetic retinopathy dataset."""

from collections.abc import Mapping

from salix.hooks import hookimpl


@hookimpl
def salix_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"kaggle_dr": "salix_kaggle_dr.kaggle_dr:KaggleDr"}
