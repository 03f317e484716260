"""Adds the kind of inspectors, which look at a network and its features, and the inspectors of this plugin."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def heatproof_hookspecs() -> Any:
    """Specify the hook by which plugins declare inspectors."""
    from . import specification

    return specification


@hookimpl
def heatproof_kinds() -> Mapping[str, tuple[str, str]]:
    """Add inspectors to the kinds of components."""
    return {"inspector": ("heatproof_inspectors", "heatproof_inspectors.inspector:Inspector")}


@hookimpl
def heatproof_inspectors() -> Mapping[str, str]:
    """Declare the inspectors of this plugin."""
    return {
        "class_maximization": "heatproof_inspection.maximization:ClassMaximization",
        "constraint_embedding": "heatproof_inspection.constraint_embedding:ConstraintEmbedding",
        "dissection": "heatproof_inspection.dissection:Dissection",
        "feature_maps": "heatproof_inspection.feature_maps:FeatureMaps",
        "filters": "heatproof_inspection.filters:Filters",
        "neighbours": "heatproof_inspection.neighbours:Neighbours",
        "projection": "heatproof_inspection.projection:Projection",
        "relevant_channels": "heatproof_inspection.relevance:RelevantChannels",
    }


@hookimpl
def heatproof_commands(cli: "click.Group") -> None:
    """Add ``heatproof inspect``."""
    from .command import inspect

    cli.add_command(inspect)
