"""Writes the HTML page of a run: one file that loads nothing from the network."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from heatproof.errors import PluginError
from heatproof.results.answer import answer, number
from heatproof.results.divisions import EFFECT, divisions
from heatproof.results.finished import Results

from .board import Board, about, boards, detail, flags
from .browser import write_browser
from .cases import galleries
from .chart import axis
from .collection import collections
from .files import write_figures, write_tables
from .paths import Shortened
from .selected import selected

KINDS: Mapping[str, str] = {"dataset": "datasets", "model": "models", "explainer": "explainers", "metric": "metrics"}
FAILURES = ("failed", "invalid")
EXCLUSIONS = ("excluded",)
MAIN = ("heatproof", "torch", "torchvision", "numpy", "zarr", "duckdb")
"""Distributions whose versions are shown, like those of the components that took part; all others are folded away."""
AUTHORS: Mapping[str, str] = {
    "holm": "Holm", "benjamini_hochberg": "Benjamini and Hochberg", "benjamini_yekutieli": "Benjamini and Yekutieli",
}  # fmt: skip
"""The authors of each correction for multiple tests."""


def write_page(results: Results) -> Path:
    """Write ``report.html`` and the folder ``report`` into a run's folder, each whole or not at all.

    Raises ``StoreError`` where that fails.
    """
    shortened = Shortened(results.config)
    with results.run.replacing_folder("report") as folder:
        content = _content(results, folder, shortened)
    with results.run.replacing("report.html") as partial:
        partial.write_text(render(results, shortened, content), encoding="utf-8")
    return results.run.folder / "report.html"


def _content(results: Results, folder: Path, shortened: Shortened) -> dict[str, Any]:
    """Write the files beside a page, and return what the page shows of rankings and cases."""
    settings = {"examples": 2, "figures": True, **results.config.get("report", {})}
    ranked = boards(results)
    collected = collections(results)
    shown = [gallery for ranking in ranked for gallery in galleries(results, ranking, collected)]
    content: dict[str, Any] = {"rankings": ranked, "galleries": shown, "figure_problems": [], "data": None}
    write_tables(folder / "tables", ranked, shortened)
    if settings["figures"]:
        content["figure_problems"] = write_figures(folder / "figures", ranked, shown)
    if settings["examples"]:
        content["data"] = write_browser(results, ranked, collected, folder / "cases", "report/cases", shortened)
    return content


def render(results: Results, shortened: Shortened, content: Mapping[str, Any]) -> str:
    """Render the page of a run as HTML; the same run gives the same bytes."""
    ranked: Sequence[Board] = content["rankings"]
    environment = _environment(shortened)
    script = environment.get_template("report.js").render() + environment.get_template("browser.js").render()
    return environment.get_template("report.html.j2").render(
        **content,
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(environment.get_template("report.css").render()),
        results=results,
        answers=[answer(ranking) for ranking in ranked],
        divisions=[division for ranking in ranked for division in divisions(results, ranking)],
        axes=[axis(ranking) for ranking in ranked],
        flags=flags(results, ranked),
        failures=problems(results, FAILURES),
        exclusions=problems(results, EXCLUSIONS),
        components=components(results),
        took_part=took_part(results),
        datasets=datasets(results),
        written_by=version("heatproof"),
        sections=list(_sections(results)),
        choices=selected(results),
        alpha=round(1 - results.config["statistics"]["confidence"], 12),
    )


def _environment(shortened: Shortened) -> Environment:
    environment = Environment(
        loader=PackageLoader("heatproof_report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shortened,
    )
    environment.filters.update(number=number, p_value=p_value, setting=setting, prose=prose)
    environment.globals.update(detail=detail, AUTHORS=AUTHORS, EFFECT=EFFECT)
    return environment


def p_value(value: float) -> str:
    """Format a p-value with three decimals, never as zero.

    >>> p_value(0.00002), p_value(0.0421)
    ('< 0.001', '0.042')
    """
    if value < 0.001:
        return "< 0.001"
    return number(value)


def setting(value: Any) -> str:
    """Format a setting: text unchanged, a component as its name, all else as JSON."""
    if isinstance(value, Mapping) and "use" in value:
        return str(value["use"])
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def prose(text: str) -> Markup:
    """Escape a text for HTML; text between double backticks becomes code.

    >>> prose("a < ``b``")
    Markup('a &lt; <code>b</code>')
    """
    parts: list[str] = text.split("``")
    parts[1::2] = [Markup("<code>{}</code>").format(code) for code in parts[1::2]]
    return Markup("").join(parts)


def datasets(results: Results) -> list[dict[str, Any]]:
    """The provenance of each dataset, with its ``name`` as in the tables."""
    return [
        entry | {"name": entry.get("title") or entry["use"].rpartition("/")[2].rpartition(":")[2]}
        for entry in results.provenance["datasets"]
    ]


def problems(results: Results, statuses: Iterable[str]) -> list[dict[str, Any]]:
    """Query the reasons why cases have no value: one row per reason, with its cases and combinations."""
    return results.query(
        'select dataset, split, metric, status, reason, list(distinct "case" order by "case") as cases, '
        "list(distinct concat_ws(' × ', nullif(model, ''), nullif(explainer, '')) order by 1) as combinations "
        "from scores where list_contains(?, status) group by all order by status, dataset, split, metric, reason",
        list(statuses),
    )


def components(results: Results) -> list[dict[str, Any]]:
    """List every component that took part, once: kind, name, origin, settings, and the summary of its docstring."""
    rows: dict[str, dict[str, Any]] = {}
    for kind, key in KINDS.items():
        combined = [row[kind] for row in results.config["combinations"] if kind in row]
        for entry in [*results.config[key], *combined]:
            rows[json.dumps([kind, entry], sort_keys=True)] = {
                "kind": kind,
                "name": entry["use"].rpartition("/")[2],
                "origin": " ".join((distribution(entry), ", ".join(versions_of(results, distribution(entry))))).strip(),
                "settings": {name: value for name, value in entry.items() if name != "use"},
                "about": _summary(results, kind, entry["use"]),
            }
    return list(rows.values())


def _summary(results: Results, kind: str, name: str) -> str:
    """The first paragraph of a component's docstring, or why the component is not available."""
    try:
        text = about(results, kind, name)
    except PluginError as error:
        return str(error)
    return " ".join(text.split("\n\n")[0].split())


def distribution(entry: Mapping[str, Any]) -> str:
    """The distribution of a component, by its full name."""
    return str(entry["use"].rpartition("/")[0])


def versions_of(results: Results, name: str) -> list[str]:
    """The versions of a distribution in the environments of a run."""
    environments = results.provenance["environments"]
    versions = (entry.get("plugins", {}).get(name) or entry.get("versions", {}).get(name) for entry in environments)
    return list(dict.fromkeys(filter(None, versions)))


def took_part(results: Results) -> set[str]:
    """The names of the distributions whose versions are shown: of the libraries and of all components of the run."""
    kinds = ("datasets", "models", "explainers", "metrics")
    return {*MAIN, *(distribution(entry) for kind in kinds for entry in results.provenance[kind])}


def _sections(results: Results) -> Iterator[tuple[str, Markup]]:
    """Heading and HTML of each section that plugins add, or of a remark where a plugin returns something else.

    The HTML is not escaped, but the page's content security policy stops its scripts and loads nothing for it.
    """
    answers = (results.catalog.call("heatproof_report_sections", run=part.run) for part in results.parts.values())
    for pages in chain.from_iterable(answers):
        try:
            sections = [(str(heading), Markup(html)) for heading, html in pages]
        except (TypeError, ValueError) as error:
            remark = Markup("<p>The sections of a plugin are missing: it must be a list of (heading, HTML), {}.</p>")
            sections = [("Missing sections", remark.format(error))]
        yield from sections
