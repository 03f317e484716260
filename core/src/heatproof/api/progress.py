"""The progress of a run in a notebook, in a terminal, or nowhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from ..cli.progress import Live
from ..cli.terminal import console
from ..run.execution import Observer


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


def show_figures(kind: type) -> None:
    """Let a notebook show figures of this class as images, unless it already has a way to show them."""
    if not in_notebook():
        return
    from IPython import get_ipython
    from IPython.core.pylabtools import select_figure_formats

    shell: Any = get_ipython()
    try:
        shell.display_formatter.formatters["image/png"].lookup_by_type(kind)
    except KeyError:
        select_figure_formats(shell, {"png"})  # type: ignore[no-untyped-call]


@contextmanager
def observer(progress: bool | None) -> Iterator[Observer]:
    """An observer for the duration of a run: a bar in a notebook, a line in a terminal.

    With None as ``progress``, a program whose messages nobody watches shows nothing; True shows plain lines there.
    """
    if progress is False:
        yield Observer()
    elif in_notebook():
        with Bar() as bar:
            yield bar
    elif progress or sys.stderr.isatty():
        with Live(console(stderr=True), transient=not progress) as live:
            yield live
    else:
        yield Observer()


class Bar(Observer):
    """A progress bar in the output of a notebook's cell, which disappears when the run has ended; remarks stay."""

    def __init__(self) -> None:
        self.units = self.done = self.failures = 0
        self.remarks: list[str] = []
        self.handle: Any = None

    def __enter__(self) -> "Bar":
        from IPython.display import display

        self.handle = display(_Html(self._html("starting")), display_id=True)  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *details: object) -> None:
        self.handle.update(_Html("".join(f"<div>{escape(remark)}</div>" for remark in self.remarks)))

    def stage(self, text: str) -> None:
        """Show the stage."""
        self._show(text)

    def step(self, text: str) -> None:
        """Show how far the stage is."""
        self._show(text)

    def begin(self, units: int, done: int) -> None:
        """Show the number of units."""
        self.units = units
        self.done = done
        self._show("running")

    def advance(self, units: int, failures: int, text: str) -> None:
        """Show the committed units."""
        self.done += units
        self.failures += failures
        self._show(text)

    def notice(self, text: str) -> None:
        """Keep a remark below the bar."""
        self.remarks.append(text)

    def _show(self, text: str) -> None:
        self.handle.update(_Html(self._html(text)))

    def _html(self, text: str) -> str:
        state = f"{self.done} of {self.units} units" if self.units else ""
        if self.failures:
            state += f", failed cases: {self.failures}"
        bar = f'<progress max="{max(1, self.units)}" value="{self.done}" aria-label="progress of the run"></progress>'
        return f"<div>{bar} {escape(state)} <small>{escape(text)}</small></div>"


class _Html:
    """HTML for a notebook, with nothing elsewhere."""

    def __init__(self, html: str):
        self.html = html

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return ""
