"""Registers the page that is written when a run has finished."""

from typing import TYPE_CHECKING

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from heatproof.results.finished import Results


@hookimpl
def heatproof_run_finished(results: "Results") -> "Path":
    """Write ``report.html`` into the run's folder and return its path."""
    from .page import write_page

    return write_page(results)
