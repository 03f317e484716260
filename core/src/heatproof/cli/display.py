"""What the terminal shows of components, of a plan, and of a run."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from click import wrap_text
from rich.console import Console, Group

from ..errors import PluginError
from .tables import show, table

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from ..component import Component
    from ..plan.plan import Plan
    from ..results.finished import Results
    from ..results.ranking import Ranking
    from ..run.runner import Finished
    from .progress import Live

WORDS: Mapping[Any, str] = {
    NoneType: "none", Any: "anything", bool: "true or false", int: "integer", float: "number", str: "text",
}  # fmt: skip
WIDTH = 100
"""Longer lines of text are hard to read, however wide the terminal is."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
MEASURES = 3
"""How many measures besides the ranking one stand beside each other."""
NO_PAGE = "no page was written: install a plugin that writes one, such as heatproof-report"


def about(documented: type, width: int) -> str:
    """The docstring of a class, wrapped to a terminal."""
    text = cleandoc(documented.__doc__ or "")
    return wrap_text(text, width=min(width, WIDTH), preserve_paragraphs=True) + "\n"


def settings_table(component: type["Component"]) -> Group:
    """The Params of a component: what each may be, and what it is where nothing is said."""
    fields = component.Params.model_fields
    rows = [(name, _kind(info), _default(info), info.description) for name, info in fields.items()]
    return table("Settings", ("name", "type", "default", "meaning"), rows, fold=("meaning",))


def _kind(info: "FieldInfo") -> str:
    return type_text(Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation)


def type_text(annotation: Any) -> str:
    """A type as a config's author reads it.

    >>> type_text(tuple[Literal["a", "b"], ...] | None)
    'list of (a | b) or none'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return " ".join([type_text(arguments[0]), *_bounds(arguments[1:])])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(type_text, arguments))
    if arguments:
        inner = [text for each in arguments if each is not ... for text in [type_text(each)]]
        grouped = f"({inner[0]})" if " " in inner[0] else inner[0]
        return f"mapping of {inner[0]} to {inner[1]}" if len(inner) > 1 else f"list of {grouped}"
    return WORDS.get(annotation) or getattr(annotation, "__name__", str(annotation)).lower()


def _bounds(metadata: Iterable[Any]) -> list[str]:
    """Limits such as ``≥ 1``, also those inside a ``Field``."""
    flat = [part for entry in metadata for part in getattr(entry, "metadata", [entry])]
    return [f"{sign} {getattr(part, name)}" for part in flat for name, sign in BOUNDS.items() if hasattr(part, name)]


def _default(info: "FieldInfo") -> str:
    from ..component import plain

    if info.is_required():
        return "required"
    default = plain(info.get_default(call_default_factory=True))
    return "none" if default is None else str(default)


def plan_table(plan: "Plan") -> Group:
    """The combinations that will run."""
    from ..plan.task import label

    rows = [
        (item.source.dataset.short, item.source.split, len(item.source.ids),
         "" if item.model_free else label(item.model), label(item.explainer), item.target, item.reduction,
         item.verdict.level, item.verdict.reason)
        for item in plan.combinations
    ]  # fmt: skip
    columns = ("dataset", "split", "samples", "model", "explainer", "target", "reduction", "verdict", "because")
    common = ("dataset", "split", "samples", "target", "reduction", "because")
    return table(f"{len(rows)} combinations", columns, rows, numbers=("samples",), fold=common)


def skipped_table(plan: "Plan") -> Group:
    """The combinations that will not run, and why."""
    rows = [(item.dataset, item.model, item.explainer, item.reason) for item in plan.skipped]
    return table(f"{len(rows)} skipped", ("dataset", "model", "explainer", "because"), rows, fold=("dataset", "model"))


def ranking_tables(ranking: "Ranking") -> Iterable[Group]:
    """The combinations by the measure that ranks, best first; then what they reach by the other measures."""
    entries, primary = ranking.entries, ranking.standard.primary
    about = f"{ranking.metric} on {ranking.dataset}, split {ranking.split}, by {primary}"
    chance = ranking.standard.expected
    title = about if chance is None else f"{about}; chance is expected to reach {chance:.3g}"
    title = f"{title}; {ranking.flag}" if ranking.flag else title
    columns = ("combination", "value", "interval", "valid", "excluded", "failed", "p vs random")
    rows = [(entry.name, entry.value, *_counted(entry.row, ranking.correction)) for entry in entries]
    yield table(title, columns, rows, numbers=columns[1:], fold=("excluded", "failed"))
    others = [name for name in ranking.measures if name != primary]
    for part in np.array_split(others, -(-len(others) // MEASURES)) if others else ():
        names = part.tolist()
        rows = [(entry.name, *(entry.rows.get(name, {}).get("value") for name in names)) for entry in entries]
        yield table(f"{ranking.metric} by other measures", ("combination", *names), rows, numbers=names)


def _counted(row: Mapping[str, Any], correction: str) -> tuple[Any, ...]:
    """Interval, counts, and the corrected p against the random baseline."""
    interval = "" if row["low"] != row["low"] else f"{row['low']:.3f} – {row['high']:.3f}"
    failed = row["n_failed"] + row["n_invalid"]
    p = row[f"p_random_{correction}"]
    return interval, row["n_valid"], row["n_excluded"], failed, "< 0.001" if p < 0.001 else p


def show_results(console: Console, results: "Results") -> None:
    """Print the tables of a run."""
    from ..results.ranking import rankings

    for ranking in rankings(results):
        for ranked in ranking_tables(ranking):
            show(console, ranked)


def stopped(live: "Live", folder: Path) -> str:
    """What Ctrl-C left of a run."""
    reached = f"{live.done} of {live.units} units are" if live.units else "whatever was"
    return f"Stopped; {reached} committed in {folder}. Run the same command again to go on."


def ending(finished: "Finished") -> str:
    """The last line of a run: the cases that failed, and where its tables and its page are."""
    failed = (
        f"{finished.failures} cases are invalid or failed; their rows say why"
        if finished.failures
        else "No case failed"
    )
    if not finished.complete:
        return f"{failed}. Other shards are not finished; tables of what is there: {finished.folder}"
    return f"{failed}. Tables: {finished.folder}; {_pages(finished)}"


def _pages(finished: "Finished") -> str:
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
