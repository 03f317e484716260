"""What the terminal shows: tables, and a run's progress (live in a terminal, plain lines elsewhere)."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn
from rich.table import Table
from rich.text import Text


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numbers: Sequence[str] = ()) -> Table:
    """A table whose cells are shown as they are, never read as markup; columns in ``numbers`` align right."""
    made = Table(title=escape(title), title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(escape(column), justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(escape(cell(value)) for value in row))
    return made


def cell(value: Any) -> str:
    """A value in a table: numbers to three places, nothing for a missing one."""
    if value is None or value != value:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def show(console: Console, made: Table) -> None:
    """Print a table, with a line's distance to what follows."""
    console.print(made)
    console.print()


def size(count: float) -> str:
    """A number of bytes in words.

    >>> size(2_500_000)
    '2.5 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


class Rate(ProgressColumn):
    """Units per minute."""

    def render(self, task: Task) -> Text:
        """The rate since the start."""
        return Text(f"{60 * task.speed:.1f}/min" if task.speed else "")


class Live:
    """Tells how a run goes: a live line in a terminal, one plain line per event elsewhere."""

    def __init__(self, console: Console):
        self.console, self.units, self.done, self.failures, self.start = console, 0, 0, 0, time.monotonic()
        self.first = 0
        self.progress: Progress | None = None
        if console.is_terminal:
            self.progress = Progress(
                SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("units"),
                Rate(), TimeRemainingColumn(), TextColumn("{task.fields[failures]} failed"), console=console,
            )  # fmt: skip
            self.task = self.progress.add_task("starting", total=None, failures=0)

    def __enter__(self) -> "Live":
        if self.progress:
            self.progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self.progress:
            self.progress.stop()

    def stage(self, text: str) -> None:
        """Something starts that takes a while."""
        self._say(text)

    def begin(self, units: int, done: int) -> None:
        """So many units are planned, so many of them are committed already."""
        self.units = units
        self.done = self.first = done
        self.start = time.monotonic()
        if self.progress:
            self.progress.reset(self.task, total=units, completed=done, failures=0)
        self._say(f"{units} units, {done} already there" if done else f"{units} units")

    def advance(self, units: int, failures: int, text: str) -> None:
        """Units were committed, some of their cases failed."""
        self.done += units
        self.failures += failures
        if self.progress:
            self.progress.update(self.task, completed=self.done, failures=self.failures, description=escape(text))
        else:
            self._say(f"{self.done}/{self.units} units, {self._pace()}, {self.failures} failed cases: {text}")

    def _pace(self) -> str:
        """Rate and time left, by what was done since the start."""
        minutes = (time.monotonic() - self.start) / 60
        rate = (self.done - self.first) / max(minutes, 1e-9)
        return f"{rate:.1f}/min, {(self.units - self.done) / max(rate, 1e-9):.1f} min left"

    def _say(self, text: str) -> None:
        if self.progress:
            self.progress.update(self.task, description=escape(text))
        else:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def summary_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The summary of a run: one row per combination and measure, best first within each measure."""
    columns = ("dataset", "model", "explainer", "target", "metric", "measure", "value", "interval", "valid",
               "failed", "excluded", "p vs random (Holm)")  # fmt: skip
    lines = [
        (
            row["dataset"], row["model"], row["explainer"], row["target"], row["metric"], row["measure"], row["value"],
            f"{row['low']:.3f} – {row['high']:.3f}", row["n_valid"], row["n_failed"] + row["n_invalid"], row["n_excluded"],
            row["p_random_holm"],
        )
        for row in rows
    ]  # fmt: skip
    return table("Results", columns, lines, numbers=("value", "valid", "failed", "excluded", "p vs random (Holm)"))
