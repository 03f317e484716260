"""Registers the page that is written when a run has finished, and the figures of runs with their command."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import click

    from heatproof.results.finished import Results


@hookimpl
def heatproof_run_finished(results: "Results") -> "Path":
    """Write ``report.html`` into the run's folder and return its path."""
    from .page import write_page

    return write_page(results)


@hookimpl
def heatproof_figures() -> Mapping[str, str]:
    """Declare the figures ``ranking`` and ``cases``."""
    return {"ranking": "heatproof_report.figures:ranking", "cases": "heatproof_report.figures:cases"}


@hookimpl
def heatproof_commands(cli: "click.Group") -> None:
    """Add the command ``figure``."""
    from .command import figure_command

    cli.add_command(figure_command)
