"""Adds the command ``heatproof train``, the kind of objectives, and the basic ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def heatproof_hookspecs() -> Any:
    """Specify the hook by which plugins declare objectives."""
    from . import specification

    return specification


@hookimpl
def heatproof_kinds() -> Mapping[str, tuple[str, str]]:
    """Add objectives to the kinds of components."""
    return {"objective": ("heatproof_objectives", "heatproof_objectives.objective:Objective")}


@hookimpl
def heatproof_objectives() -> Mapping[str, str]:
    """Declare the objectives of this plugin."""
    return {
        "cross_entropy": "heatproof_training.cross_entropy:CrossEntropy",
        "multi_label": "heatproof_training.multi_label:MultiLabel",
        "ordinal": "heatproof_training.ordinal:Ordinal",
        "regression": "heatproof_training.regression:Regression",
    }


@hookimpl
def heatproof_commands(cli: "click.Group") -> None:
    """Add ``heatproof train``."""
    from .command import train

    cli.add_command(train)
