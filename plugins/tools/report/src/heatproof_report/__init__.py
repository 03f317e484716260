"""Writes the page of a run when the run has finished."""

from typing import TYPE_CHECKING

from heatproof.hooks import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from heatproof.results.finished import Results


@hookimpl
def heatproof_run_finished(results: "Results") -> "Path":
    """Write ``report.html`` into the run's folder; its path."""
    from .page import write_page

    return write_page(results)
