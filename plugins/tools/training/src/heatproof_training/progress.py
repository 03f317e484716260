"""Progress of a training: one live line in a terminal, elsewhere a line per epoch."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from heatproof.cli.tables import cell


class Observer:
    """What a training tells while it runs; this one is silent."""

    def stage(self, text: str) -> None:
        """Take note of what starts now and takes a while."""

    def begin(self, epochs: int, done: int, text: str, select: str) -> None:
        """Take note of a network whose training starts, or continues after ``done`` epochs."""

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Take note of a step, with the mean loss of the epoch so far."""

    def epoch(self, row: Mapping[str, Any], epochs: int, best: int | None) -> None:
        """Take note of a finished epoch by its record."""

    def notice(self, text: str) -> None:
        """Take note of a remark for the user."""


class Live(Observer):
    """Shows epoch, step, loss, the numbers of the last evaluation, and the time left."""

    def __init__(self, console: Console):
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(10))
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.progress.add_task("starting", total=None)
        self.text = ""
        self.numbers = ""
        self.shown: tuple[str, ...] = ()
        self.epochs = 0
        self.start = time.monotonic()
        self.first = 0.0
        self.done = 0.0

    def __enter__(self) -> "Live":
        self.progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        self.progress.stop()

    def stage(self, text: str) -> None:
        """Show what starts now."""
        self.progress.update(self.task, description=cell(text))
        if self.progress.disable:
            self.notice(text)

    def begin(self, epochs: int, done: int, text: str, select: str) -> None:
        """Start the clock of the time left."""
        self.text = text
        self.shown = ("loss", select)
        self.epochs = epochs
        self.first = self.done = float(done)
        self.start = time.monotonic()
        self.progress.reset(self.task, total=epochs, completed=done)
        if done:
            self.notice(f"{text}continues after epoch {done} of {epochs}")

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Show the step and the mean loss of the epoch so far."""
        self.done = epoch + step / steps
        parts = [
            f"{self.text}epoch {epoch + 1}/{self.epochs}",
            f"step {step}/{steps}",
            f"loss {loss:.4g}",
            self.numbers,
        ]
        text = ", ".join(filter(None, [*parts, self._left()]))
        self.progress.update(self.task, description=cell(text), completed=self.done)

    def epoch(self, row: Mapping[str, Any], epochs: int, best: int | None) -> None:
        """Show the losses and measures of a finished epoch."""
        self.done = row["epoch"] + 1
        self.numbers = ", ".join(
            f"{part} {name} {value:.4g}"
            for part in ("validation", "test")
            for name, value in row.get(part, {}).items()
            if name in self.shown
        )
        parts = [f"{self.text}epoch {row['epoch'] + 1}/{epochs}", f"loss {row['train']['loss']:.4g}", self.numbers]
        parts += ["best so far" * (best == row["epoch"]), self._left()]
        if self.progress.disable:
            self.notice(", ".join(filter(None, parts)))

    def notice(self, text: str) -> None:
        """Print a remark that stays."""
        self.progress.console.print(Text(cell(text)), soft_wrap=True)

    def _left(self) -> str:
        """The time left, from the epochs since the start."""
        finished = self.done - self.first
        if finished <= 0:
            return ""
        seconds = round((time.monotonic() - self.start) / finished * max(0.0, self.epochs - self.done))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"
