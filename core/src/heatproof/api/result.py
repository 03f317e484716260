"""The result of a run in Python: ranking, tables, figures and cases."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

from rich.console import Console

from ..cli.display import show_results
from ..cli.tables import cell
from ..errors import HeatproofError, near
from ..registry.catalog import default
from ..results.answer import answer
from ..results.figures import figure, figure_names
from ..results.finished import Results
from ..results.ranking import Ranking, rankings
from .case import Case
from .progress import show_figures
from .rows import table_of

WIDTH = 120
"""The characters of a line of the plain text."""
TABLES = ("ranking", "summary", "comparisons", "ranks", "scores")
SCORES = (
    'select "case", patient, dataset, split, model, explainer, target, metric, measure, value, status, reason '
    "from scores order by all"
)
"""The scores of all cases without the settings, which ``results.query`` gives."""
COLUMNS = ("value", "low", "high", "n_valid", "n_failed")


class Result:
    """A finished run: a ranking that shows itself, with its tables, figures and cases.

    ``Result("runs/main")`` opens a run that the command line has made. Raises ``StoreError`` for a folder without one.
    """

    def __init__(
        self, results: Results | Path | str, remarks: Sequence[str] = (), pages: Sequence[Path] = (),
        temporary: bool = False,
    ):  # fmt: skip
        if not isinstance(results, Results):
            results = Results(Path(results).expanduser(), default())
        self.results = results
        self.folder = results.run.folder
        self.remarks = tuple(remarks)
        self.pages = tuple(pages)
        self.temporary = temporary
        # A later run into the same folder adds units and replaces the tables, but it changes no unit.
        _ = self.units

    @cached_property
    def rankings(self) -> list[Ranking]:
        """A ranking per dataset, split and metric, best first."""
        return rankings(self.results)

    @cached_property
    def baselines(self) -> set[str]:
        """The keys of the random baselines."""
        return {row["combination"] for row in self.results.summary if row["baseline"]}

    @property
    def answers(self) -> list[str]:
        """A sentence per ranking: what can be told apart, and what chance is expected to reach."""
        return [answer(ranking) for ranking in self.rankings]

    @cached_property
    def units(self) -> dict[str, dict[str, Any]]:
        """Key → the settings, the cases and the columns of every unit of heatmaps of this run."""
        rows = self.results.query("select distinct heatmap from scores where heatmap is not null order by all")
        keys = [PurePosixPath(row["heatmap"]).parts[1] for row in rows] + self.results.unscored
        return {key: self.results.run.meta("heatmaps", key) for key in keys}

    @property
    def cases(self) -> list[str]:
        """The ids of all cases."""
        return list(dict.fromkeys(id for unit in self.units.values() for id in unit["ids"]))

    @property
    def explainers(self) -> list[str]:
        """The explainers by the names that tables show."""
        return list(dict.fromkeys(unit["explainer"] for unit in self.units.values()))

    def case(self, id: Any) -> Case:
        """One case by its id; raises ``HeatproofError`` for an unknown one."""
        units = {key: unit for key, unit in self.units.items() if str(id) in unit["ids"]}
        if not units:
            raise HeatproofError(f"there is no case {str(id)!r}; {near(str(id), self.cases)}")
        return Case(self, str(id), units)

    def table(self, name: str = "ranking") -> Any:
        """A table: ranking, summary, comparisons, ranks or scores, the last with a row per case.

        It is a data frame where pandas is installed, else a list of rows; both have ``to_csv`` and ``to_latex``.
        """
        if name not in TABLES:
            raise HeatproofError(f"there is no table {name!r}; {near(name, TABLES)}")
        if name == "ranking":
            return table_of(self._ranking())
        rows = self.results.query(SCORES) if name == "scores" else getattr(self.results, name)
        return table_of(rows)

    def _ranking(self) -> Iterator[dict[str, Any]]:
        for ranking in self.rankings:
            origin = {"dataset": ranking.dataset, "metric": ranking.metric, "measure": ranking.standard.primary}
            for entry in ranking.entries:
                values = {name: entry.row[name] for name in COLUMNS}
                yield {**origin, "combination": entry.name, **values, "p_vs_random": entry.row[p_column(ranking)]}

    def figure(self, name: str = "ranking", **options: Any) -> Any:
        """A figure of matplotlib by its name, such as ``ranking`` or ``cases``, with the options of its plugin.

        Raises ``HeatproofError`` for an unknown name.
        """
        plot = figure(self.results, name, **options)
        show_figures(type(plot))
        return plot

    def __repr__(self) -> str:
        stream = io.StringIO()
        console = Console(file=stream, width=WIDTH, highlight=False, color_system=None, force_jupyter=False)
        for remark in self.remarks:
            console.print(cell(remark), markup=False)
        show_results(console, self.results)
        console.print(self._origin(), markup=False)
        return stream.getvalue().rstrip()

    def _origin(self) -> str:
        """Where the run lies, and for how long."""
        text = f"Run: {self.folder}"
        if self.temporary:
            text += ", until Python ends; output= keeps it"
        return text

    def _repr_html_(self) -> str:
        parts = ["<ul>", *(f"<li>{escape(remark)}</li>" for remark in self.remarks), "</ul>"]
        parts += [f"<p>{escape(sentence)}</p>" for sentence in self.answers]
        parts.append(_html_table(list(self._ranking())))
        if self.rankings and "ranking" in figure_names(self.results):
            parts.append(_image(self.figure("ranking")))
        return "\n".join([*parts, f"<p><small>{escape(self._origin())}</small></p>"])


def p_column(ranking: Ranking) -> str:
    """The column of the corrected p-value against the random heatmap."""
    return f"p_random_{ranking.correction}"


def _html_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of HTML with a heading row."""
    if not rows:
        return ""
    header = "".join(f'<th scope="col">{escape(name)}</th>' for name in rows[0])
    lines = ["".join(f"<td>{escape(cell(value))}</td>" for value in row.values()) for row in rows]
    return f"<table><tr>{header}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _image(figure: Any) -> str:
    """A figure as an image of HTML."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, bbox_inches="tight")
    content = base64.b64encode(stream.getvalue()).decode()
    return f'<img alt="ranking with intervals" src="data:image/png;base64,{content}">'
