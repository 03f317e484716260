"""Adds the command that starts a plugin."""

from typing import TYPE_CHECKING

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def heatproof_commands(cli: "click.Group") -> None:
    """Add ``heatproof new``."""
    from .command import new

    cli.add_command(new)
