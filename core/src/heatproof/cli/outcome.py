"""What the terminal says once a run has ended: its tables, where they are, which page was written, what went wrong."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ..errors import PluginError
from ..results.finished import Results
from ..results.ranking import rankings
from ..run.runner import Finished
from .display import ranking_tables
from .progress import Live
from .tables import show

NO_PAGE = "no page was written: install a plugin that writes one, such as heatproof-report"


def show_results(console: Console, results: Results) -> None:
    """Print the tables of a run."""
    for ranking in rankings(results):
        for table in ranking_tables(ranking):
            show(console, table)


def stopped(live: Live, folder: Path) -> str:
    """What Ctrl-C left of a run."""
    reached = f"{live.done} of {live.units} units are" if live.units else "whatever was"
    return f"Stopped; {reached} committed in {folder}. Run the same command again to go on."


def ending(finished: Finished) -> str:
    """The last line of a run: the cases that failed, and where its tables and its page are."""
    failed = (
        f"{finished.failures} cases are invalid or failed; their rows say why"
        if finished.failures
        else "No case failed"
    )
    if not finished.complete:
        return f"{failed}. Other shards are not finished; tables of what is there: {finished.folder}"
    return f"{failed}. Tables: {finished.folder}; {_pages(finished)}"


def _pages(finished: Finished) -> str:
    if finished.pages:
        return f"report: {', '.join(map(str, finished.pages))}"
    return "no page was written" if finished.faults else NO_PAGE


def refuse_faults(folder: Path, faults: Sequence[str]) -> None:
    """Raise ``PluginError`` where a plugin raised when it was told that the run in ``folder`` has finished."""
    if faults:
        raise PluginError(
            f"{'; '.join(faults)}. The run is complete, with its tables in {folder}; update or remove the plugin, then "
            f"`heatproof report {folder}` calls it again."
        )
