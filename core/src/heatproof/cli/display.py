"""Tables and sentences about components, plans and runs for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from click import wrap_text
from rich.console import Console, Group
from rich.text import Text

from ..component import Component, plain
from ..errors import PluginError
from ..shell import command
from .tables import cell, show, table

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from ..plan.plan import Plan
    from ..results.divisions import Division
    from ..results.finished import Results
    from ..results.ranking import Ranking
    from ..run.runner import Finished
    from .progress import Live

WORDS: Mapping[Any, str] = {
    NoneType: "none", Any: "anything", bool: "true or false", int: "integer", float: "number", str: "text",
}  # fmt: skip
WIDTH = 100
"""The longest line of text, also in wider terminals."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
MEASURES = 3
"""How many measures a table shows side by side, besides the ranking one."""
NO_PAGE = "no page was written: install a plugin that writes one, such as heatproof-report"


def about(documented: type, width: int) -> str:
    """Return the docstring of a class, wrapped for a terminal of ``width`` characters."""
    text = cleandoc(documented.__doc__ or "")
    return wrap_text(text, width=min(width, WIDTH), preserve_paragraphs=True) + "\n"


def settings_table(component: type[Component]) -> Group:
    """Make the table of a component's Params: name, type, default and meaning."""
    rows = []
    for name, info in component.Params.model_fields.items():
        kind = " ".join([type_text(info.annotation), *_bounds(info.metadata)])
        rows.append((name, kind, _default(info), info.description))
    return table("Settings", ("name", "type", "default", "meaning"), rows, fold=("meaning",))


def type_text(annotation: Any) -> str:
    """Describe a type for the author of a config.

    >>> type_text(tuple[Literal["a", "b"], ...] | None)
    'list of (a | b) or none'
    >>> type_text(tuple[float, float])
    'list of (number, number)'
    """
    origin = get_origin(annotation)
    arguments = [argument for argument in get_args(annotation) if argument is not ...]
    if origin is Annotated:
        return " ".join([type_text(arguments[0]), *_bounds(arguments[1:])])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(type_text, arguments))
    if origin is tuple and len(arguments) > 1:
        return f"list of ({', '.join(map(type_text, arguments))})"
    if len(arguments) > 1:
        return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
    if arguments:
        entry = type_text(arguments[0])
        if " " in entry:
            entry = f"({entry})"
        return f"list of {entry}"
    return WORDS.get(annotation) or getattr(annotation, "__name__", str(annotation)).lower()


def _bounds(metadata: Iterable[Any]) -> list[str]:
    """List bounds such as ``≥ 1``, also those inside a ``Field``."""
    bounds: list[str] = []
    for entry in metadata:
        bounds += _bounds(getattr(entry, "metadata", ()))
        bounds += [f"{sign} {getattr(entry, name)}" for name, sign in BOUNDS.items() if hasattr(entry, name)]
    return bounds


def _default(info: "FieldInfo") -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True)
    if default is None:
        return "none"
    return str(plain(default))


def plan_table(plan: "Plan") -> Group:
    """Make the table of the combinations that will run, and of those of which one is selected."""
    from ..plan.task import labels

    compared = {
        (item.key, item.source.key): (item, f"compared by {choice.metric.short}")
        for choice in plan.choices
        for item in choice.candidates
    }
    items = [*((item, "reported") for item in plan.combinations), *compared.values()]
    names = labels(component for item, _ in items for component in (item.model, item.explainer))
    rows = [
        (item.source.dataset.short, item.source.split, len(item.source.ids),
         "" if item.model_free else names[item.model.identity], names[item.explainer.identity],
         *([use] if compared else []), item.target, item.reduction, item.verdict.level, item.verdict.reason)
        for item, use in items
    ]  # fmt: skip
    use = ("use",) if compared else ()
    columns = ("dataset", "split", "samples", "model", "explainer", *use, "target", "reduction", "verdict", "because")
    common = ("dataset", "split", "samples", "target", "reduction", "because")
    title = f"{len(plan.combinations) + len(plan.choices)} combinations"
    if compared:
        title += f", of which {len(plan.choices)} are selected from {len(compared)} candidates"
    return table(title, columns, rows, numbers=("samples",), fold=common)


def skipped_table(plan: "Plan") -> Group:
    """Make the table of the combinations that will not run, with reasons."""
    rows = [(item.dataset, item.model, item.explainer, item.reason) for item in plan.skipped]
    return table(f"{len(rows)} skipped", ("dataset", "model", "explainer", "because"), rows, fold=("dataset", "model"))


def ranking_tables(ranking: "Ranking") -> Iterable[Group]:
    """Yield the table of combinations by the ranking measure, best first, and tables of the other measures.

    Combinations that share a letter in the column ``group`` do not differ significantly.
    """
    from ..results.answer import groups

    title = f"{ranking.metric} on {ranking.dataset}, split {ranking.split}, by {ranking.standard.primary}"
    if ranking.standard.expected is not None:
        title += f"; chance is expected to reach {ranking.standard.expected:.3g}"
    for flag in filter(None, (ranking.flag, ranking.common_flag)):
        title += f"; {flag}"
    columns = ("combination", "value", "group", "interval", "valid", "excluded", "failed", "p vs random")
    letters = groups(ranking)
    rows = [
        (entry.name, entry.value, letters.get(entry.row["combination"]), *_statistics(entry.row, ranking.correction))
        for entry in ranking.entries
    ]
    for benchmark in ranking.benchmarks:
        rows.append((benchmark.name, benchmark.value, None, *_statistics(benchmark.row, ranking.correction)[:-1], None))
    yield table(title, columns, rows, numbers=columns[3:], fold=("excluded", "failed"))
    others = [name for name in ranking.measures if name != ranking.standard.primary]
    if not others:
        return
    for part in np.array_split(others, -(-len(others) // MEASURES)):
        names = part.tolist()
        rows = [(entry.name, *(entry.rows.get(name, {}).get("value") for name in names)) for entry in ranking.entries]
        yield table(f"{ranking.metric} by other measures", ("combination", *names), rows, numbers=names)


def subgroup_table(division: "Division") -> Group:
    """Make the table of a ranking's subgroups, with the combinations of each."""
    ranking = division.ranking
    title = (
        f"{ranking.metric} on {ranking.dataset}, split {ranking.split}, by {division.by}: {ranking.standard.primary}"
    )
    columns = ("group", "combination", "value", "interval", "valid", "patients")
    rows = [
        (group.name, member.name, member.row["value"], _interval(member.row), member.row["n_valid"],
         f"{member.row['n_patients']}{', few' if member.few else ''}")
        for group in division.groups for member in group.members
    ]  # fmt: skip
    return table(title, columns, rows, numbers=columns[2:], fold=("combination",))


def _interval(row: Mapping[str, Any]) -> str:
    """Return an interval as text, empty where there is none."""
    return "" if np.isnan(row["low"]) else f"{row['low']:.3f} – {row['high']:.3f}"


def _statistics(row: Mapping[str, Any], correction: str) -> tuple[Any, ...]:
    """Return interval, counts, and the corrected p-value against the random heatmap."""
    failed = row["n_failed"] + row["n_invalid"]
    p = row[f"p_random_{correction}"]
    return _interval(row), row["n_valid"], row["n_excluded"], failed, "< 0.001" if p < 0.001 else p


def show_results(console: Console, results: "Results") -> None:
    """Print the answer and the tables of each ranking of a run, with those of subgroups, and every flag once."""
    from ..results.answer import answer
    from ..results.divisions import divisions
    from ..results.ranking import rankings
    from ..results.subgroups import EFFECT, FLAG

    flags: dict[str, None] = {}
    for ranking in rankings(results):
        console.print(Text(cell(answer(ranking))))
        console.print()
        for ranked in ranking_tables(ranking):
            show(console, ranked)
        for division in divisions(results, ranking):
            show(console, subgroup_table(division))
            members = [member for group in division.groups for member in group.members]
            flags |= dict.fromkeys(f"few: {FLAG}; {EFFECT}" for member in members if member.few)
        flags |= dict.fromkeys(map(ranking.flag_of, ranking.entries))
        flags.pop(ranking.common_flag, None)
    for flag in filter(None, flags):
        console.print(Text(cell(flag)))


def stopped(live: "Live", folder: Path) -> str:
    """Return the message after Ctrl-C with the number of committed units."""
    progress = "planning was not finished"
    if live.units:
        progress = f"{live.done} of {live.units} units are committed in {folder}"
    return f"Stopped; {progress}. Run the same command again to go on."


def ending(finished: "Finished") -> str:
    """Return the last line of a run: the number of failed cases, and the paths of tables and pages."""
    validity = finished.validity
    failed = "No case failed"
    if validity.nothing:
        failed = "No case has a value"
    elif validity.failures:
        failed = f"Invalid or failed cases, over all combinations and metrics: {validity.failures}"
        if validity.ranking < validity.failures:
            failed += f", {validity.failures - validity.ranking} of them only in measures that do not rank"
        failed += "; scores.parquet says why"
    if not finished.complete:
        return f"{failed}. Other shards are not finished; tables so far: {finished.folder}"
    page = NO_PAGE
    if finished.faults:
        page = "no page was written"
    if finished.pages:
        page = f"report: {', '.join(map(str, finished.pages))}"
    return f"{failed}. Tables: {finished.folder}; {page}"


def refuse_faults(folder: Path, faults: Sequence[str]) -> None:
    """Raise ``PluginError`` if ``faults`` of plugins occurred after the run in ``folder`` had finished."""
    if faults:
        advice = f"update or remove the plugin, then `{command('report', folder)}` calls it again."
        raise PluginError(f"{'; '.join(faults)}. The run is complete, with its tables in {folder}; {advice}")
