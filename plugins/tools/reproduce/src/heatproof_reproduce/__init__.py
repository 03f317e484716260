"""Runs the configs of published papers and compares each published number with its own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    import click

PAPERS = (
    "van-craenendonck-2020",
    "gonzalez-gonzalo-2018",
    "athanasoula-2022",
    "watanabe-2022",
    "huff-2021",
)
"""The papers of this plugin: folders below ``papers``."""


@hookimpl
def heatproof_hookspecs() -> Any:
    """Specify the hook by which plugins declare papers."""
    from . import specification

    return specification


@hookimpl
def heatproof_papers() -> Mapping[str, str]:
    """Declare the papers of this plugin."""
    return dict.fromkeys(PAPERS, "heatproof_reproduce:papers")


@hookimpl
def heatproof_commands(cli: "click.Group") -> None:
    """Add ``heatproof reproduce``."""
    from .command import reproduce

    cli.add_command(reproduce)
