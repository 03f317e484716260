"""What a run's folder says: its tables, its settings, and where its numbers come from."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..config.components import create
from ..config.settings import StatisticsSettings
from ..errors import StoreError
from ..registry.catalog import Catalog
from ..results.parquet import connect, damaged
from ..results.significance import CORRECTIONS
from ..results.store import Run, read_json


def _number(text: str) -> float:
    return float(text or "nan")


TYPES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("n_valid", "n_failed", "n_excluded", "n_invalid", "n_patients", "n_cases", "resamples",
                     "undefined_resamples", "permutations", "n_combinations"), int),
    **dict.fromkeys(("value", "low", "high", "confidence", "difference_to_random", "p_random", "difference", "p",
                     "win_share", "rank", "best_share", "rank_share", "mean_rank", "critical_difference", "friedman",
                     "p_friedman"), _number),
    **{f"{name}_{correction}": _number for name in ("p_random", "p") for correction in CORRECTIONS},
    "exact": "True".__eq__,
}  # fmt: skip


def read_summary(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``summary.csv``, missing numbers as NaN; raises ``StoreError`` where there is none."""
    return read_rows(Run.open(folder).folder / "summary.csv")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """A table of a run, its numbers parsed; raises ``StoreError`` when it is missing or damaged."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            return [{name: TYPES.get(name, str)(text) for name, text in row.items()} for row in csv.DictReader(stream)]
    except FileNotFoundError:
        raise StoreError(f"{path} is missing: the run has not finished; run the same config again.") from None
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise StoreError(f"{path} cannot be read ({error}); run the same config again to write it anew.") from error


class Results:
    """A finished run, read from its folder."""

    def __init__(self, folder: Path):
        self.run = Run.open(folder)
        self.summary = read_summary(folder)
        self.comparisons = read_rows(self.run.folder / "comparisons.csv")
        self.ranks = read_rows(self.run.folder / "ranks.csv")
        self.skipped: list[dict[str, str]] = read_json(self.run.folder / "skipped.json")["skipped"]
        self.provenance = read_json(self.run.folder / "provenance.json")
        self.config = _yaml(self.run.folder / "config.yaml")
        self.text = (self.run.folder / "config.yaml").read_text(encoding="utf-8")

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """What the provenance knows of each dataset, with its ``name`` as the tables have it."""
        return [
            entry | {"name": entry["use"].rpartition("/")[2].rpartition(":")[2]}
            for entry in self.provenance["datasets"]
        ]

    @cached_property
    def statistics(self) -> StatisticsSettings:
        """How the tables were made."""
        return StatisticsSettings.model_validate(self.config["statistics"])

    @cached_property
    def selection(self) -> dict[str, Any]:
        """What was filled from the tuning split, by key."""
        path = self.run.folder / "selection.yaml"
        return _yaml(path) if path.is_file() else {}

    @cached_property
    def places(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(combination, metric) → verdict, its reason, and the settings of everything involved."""
        rows = self.query(
            "select distinct on (combination, metric) combination, metric, verdict, verdict_reason, settings, "
            "metric_settings from scores order by all"
        )
        for row in rows:
            row |= {name: json.loads(row[name]) for name in ("settings", "metric_settings")}
        return {(row["combination"], row["metric"]): row for row in rows}

    def scores(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All cases and measures of the combination and metric that a summary row names, by case."""
        return self.query(
            'select "case", patient, measure, value, heatmap, row from scores '
            'where combination = ? and metric = ? and dataset = ? and split = ? order by "case", measure',
            *(row[name] for name in ("combination", "metric", "dataset", "split")),
        )

    def problems(self, statuses: Iterable[str]) -> list[dict[str, Any]]:
        """One row per reason why cases have no value: the cases and the combinations that it concerns."""
        return self.query(
            'select dataset, split, metric, status, reason, list(distinct "case" order by "case") as cases, '
            "list(distinct concat_ws(' × ', nullif(model, ''), nullif(explainer, '')) order by 1) as combinations "
            "from scores where list_contains(?, status) group by all order by status, dataset, split, metric, reason",
            list(statuses),
        )

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """The rows that a question to the table ``scores`` has."""
        path = self.run.folder / "scores.parquet"
        with connect() as connection:
            try:
                connection.read_parquet(str(path), hive_partitioning=False).create_view("scores")
            except duckdb.Error as error:
                raise damaged(path, error) from error
            return rows_of(connection.execute(sql, values))


def rows_of(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """What a query found, one mapping per row."""
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def made(catalog: Catalog, kind: str, described: Mapping[str, Any]) -> Any:
    """The component that ``describe`` wrote down; ``HeatproofError`` or ``ValueError`` where it cannot be had."""
    params = {name: value for name, value in described.items() if name != "use"}
    return create(catalog, kind, described["use"], params)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return dict(YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {})
    except (YAMLError, ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({error}); run the same config again to write it anew.") from error
