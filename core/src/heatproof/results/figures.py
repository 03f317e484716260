"""Figures of a finished run by name, which plugins declare with the hook ``heatproof_figures``."""

import inspect
from typing import TYPE_CHECKING, Any

from ..errors import HeatproofError, PluginError, near
from .finished import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_names(results: Results) -> list[str]:
    """The names of all figures that the installed plugins draw."""
    return sorted(entry.name for entry in results.catalog.functions("heatproof_figures"))


def figure(results: Results, name: str, **options: Any) -> "Figure":
    """Draw a figure of a run, such as ``ranking`` or ``cases``, as a matplotlib figure.

    ``options`` are those of the function that draws it. Raises ``PluginError`` for an unknown or ambiguous name, and
    ``HeatproofError`` for options that the figure does not have or cannot fulfil.
    """
    entries = [entry for entry in results.catalog.functions("heatproof_figures") if name in (entry.name, entry.full)]
    if not entries:
        known = near(name, figure_names(results))
        raise PluginError(f"no figure is named {name!r}; {known}; figures come with plugins such as heatproof-report.")
    if len(entries) > 1:
        choices = " or ".join(repr(entry.full) for entry in entries)
        raise PluginError(f"the figure {name!r} is declared by several distributions; write {choices}.")
    draw = results.catalog.function(entries[0])
    allowed = list(inspect.signature(draw).parameters)[1:]
    for option in options:
        if option not in allowed:
            raise HeatproofError(f"the figure {name!r} has no option {option!r}; {near(option, allowed)}")
    plot: Figure = draw(results, **options)
    return plot
