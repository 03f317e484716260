"""Adds the commands that check and write the files of datasets."""

from typing import TYPE_CHECKING

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def heatproof_commands(cli: "click.Group") -> None:
    """Add ``heatproof data check`` and ``heatproof data write``."""
    from .commands import data

    cli.add_command(data)
