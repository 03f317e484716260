"""Registers the Kaggle diabetic retinopathy dataset."""

from collections.abc import Mapping

from heatproof.hooks import hookimpl


@hookimpl
def heatproof_datasets() -> Mapping[str, str]:
    """Declare the classes of this plugin."""
    return {"kaggle_dr": "heatproof_kaggle_dr.kaggle_dr:KaggleDr"}
