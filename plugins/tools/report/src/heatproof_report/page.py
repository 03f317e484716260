"""The HTML page of a run: everything in one file, without a single reference to the network."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from heatproof.errors import PluginError
from heatproof.results.finished import Results

from .board import Board, about, boards, detail
from .cases import galleries
from .chart import chart

KINDS: Mapping[str, str] = {"dataset": "datasets", "model": "models", "explainer": "explainers", "metric": "metrics"}
FAILURES, EXCLUSIONS = ("failed", "invalid"), ("excluded",)
MAIN = ("heatproof", "torch", "torchvision", "numpy", "zarr", "duckdb")
"""Distributions whose versions are shown at once, besides those of plugins; the rest can be opened."""


AUTHORS: Mapping[str, str] = {"holm": "Holm", "benjamini_hochberg": "Benjamini and Hochberg"}
"""Whose correction it is."""


def write_page(results: Results) -> Path:
    """Write ``report.html`` into a run's folder in one step; raises ``StoreError`` where it cannot be written."""
    with results.run.replacing("report.html") as partial:
        partial.write_text(render(results), encoding="utf-8")
    return results.run.folder / "report.html"


def render(results: Results) -> str:
    """The page of a run as HTML: the same bytes for the same run."""
    environment = _environment()
    script = environment.get_template("report.js").render()
    ranked = boards(results)
    return environment.get_template("report.html.j2").render(
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(environment.get_template("report.css").render()),
        results=results,
        rankings=ranked,
        charts=[Markup(chart(ranking, f"chart{number}")) for number, ranking in enumerate(ranked)],
        galleries=[gallery for ranking in ranked for gallery in galleries(results, ranking)],
        failures=problems(results, FAILURES),
        exclusions=problems(results, EXCLUSIONS),
        asked=asked(results),
        datasets=datasets(results),
        versions=_main_versions(results.provenance["versions"]),
        sections=[
            section
            for answer in results.catalog.call("heatproof_report_sections", run=results.run)
            for section in _checked(answer)
        ],
        alpha=round(1 - results.config["statistics"]["confidence"], 12),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("heatproof_report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, p_value=p_value, setting=setting, prose=prose)
    environment.globals.update(standing=standing, detail=detail, AUTHORS=AUTHORS)
    return environment


def number(value: float | None) -> str:
    """A number to three places, a dash where there is none.

    >>> number(0.12345), number(float("nan"))
    ('0.123', '–')
    """
    return "–" if value is None or value != value else f"{value:.3f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value to three places, never a bare zero.

    >>> p_value(0.00002), p_value(0.0421)
    ('< 0.001', '0.042')
    """
    return "< 0.001" if value < 0.001 else number(value)


def setting(value: Any) -> str:
    """A setting as text: words as they are, components by name, the rest as JSON."""
    if isinstance(value, Mapping) and "use" in value:
        return str(value["use"])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def prose(text: str) -> Markup:
    """Escaped text, with what stands between double backticks as code.

    >>> prose("a < ``b``")
    Markup('a &lt; <code>b</code>')
    """
    parts = text.split("``")
    return Markup("").join(
        Markup("<code>{}</code>" if number % 2 else "{}").format(part) for number, part in enumerate(parts)
    )


def standing(ranking: Board, alpha: float) -> str:
    """How the leader stands against the random baseline, in words."""
    best = ranking.best
    if best is None or not ranking.baselines:
        return "There is no random baseline to compare with."
    p = best.row[f"p_random_{ranking.correction}"]
    if p != p:
        return "It could not be tested against the random baseline."
    better = (best.row["difference_to_random"] > 0) == ranking.standard.higher_is_better
    remark = f"p {p_value(p)} after correction by {AUTHORS[ranking.correction]}"
    if p >= alpha:
        return f"The test does not tell it apart from a random heatmap ({remark})."
    return f"It is {'better' if better else 'worse'} than a random heatmap ({remark})."


def datasets(results: Results) -> list[dict[str, Any]]:
    """What the provenance knows of each dataset, with its ``name`` as the tables have it."""
    return [
        entry | {"name": entry["use"].rpartition("/")[2].rpartition(":")[2]} for entry in results.provenance["datasets"]
    ]


def problems(results: Results, statuses: Iterable[str]) -> list[dict[str, Any]]:
    """One row per reason why cases have no value: the cases and the combinations that it concerns."""
    return results.query(
        'select dataset, split, metric, status, reason, list(distinct "case" order by "case") as cases, '
        "list(distinct concat_ws(' × ', nullif(model, ''), nullif(explainer, '')) order by 1) as combinations "
        "from scores where list_contains(?, status) group by all order by status, dataset, split, metric, reason",
        list(statuses),
    )


def asked(results: Results) -> list[dict[str, Any]]:
    """Every component that the config names: kind, settings, and what it is in a sentence."""
    components: dict[str, dict[str, Any]] = {}
    for kind, listed in KINDS.items():
        rows = [row[kind] for row in results.config["combinations"] if kind in row]
        for entry in [*results.config[listed], *rows]:
            settings = {name: value for name, value in entry.items() if name != "use"}
            shown = {
                "kind": kind,
                "use": entry["use"],
                "settings": settings,
                "about": _about(results, kind, entry["use"]),
            }
            components.setdefault(json.dumps([kind, entry], sort_keys=True), shown)
    return list(components.values())


def _about(results: Results, kind: str, name: str) -> str:
    """The first paragraph of a component's description."""
    try:
        text = about(results, kind, name)
    except PluginError as error:
        return str(error)
    return " ".join(text.split("\n\n")[0].split())


def _main_versions(versions: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in versions.items() if name in MAIN or name.startswith("heatproof-")}


def _checked(answer: Iterable[Any]) -> list[tuple[str, Markup]]:
    """A plugin's sections; their HTML is its to answer for, but no script in it runs and nothing is loaded by it."""
    try:
        return [(str(heading), Markup(html)) for heading, html in answer]
    except (TypeError, ValueError) as error:
        remark = Markup("<p>A plugin's section is left out: it must be a list of (heading, HTML), {}.</p>")
        return [("Left out", remark.format(error))]
