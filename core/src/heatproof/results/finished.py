"""A finished run, read from its folder: tables, settings, cases and provenance."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..component import Component
from ..config.components import create
from ..digests import file_digest
from ..errors import StoreError
from ..registry.catalog import Catalog
from ..spreadsheet import literal
from .parquet import connect
from .significance import CORRECTIONS
from .store import Run
from .subgroups import NAMES
from .summary import SummarySettings

SCORES = "scores.parquet"


def _number(text: str) -> float:
    return float(text or "nan")


TYPES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("n_valid", "n_failed", "n_excluded", "n_invalid", "n_patients", "n_cases", "resamples",
                     "undefined_resamples", "permutations", "n_combinations"), int),
    **dict.fromkeys(("value", "low", "high", "confidence", "difference_to_random", "p_random", "difference", "p",
                     "win_share", "rank", "best_share", "rank_share", "mean_rank", "critical_difference", "friedman",
                     "p_friedman", "p_nemenyi", "p_closed_form"), _number),
    **{f"{name}_{correction}": _number for name in ("p_random", "p", "p_closed_form") for correction in CORRECTIONS},
    **dict.fromkeys(("exact", "baseline"), "True".__eq__),
}  # fmt: skip


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV table, numbers parsed, missing ones NaN."""
    with open(path, newline="", encoding="utf-8") as stream:
        return [{name: TYPES.get(name, literal)(text) for name, text in row.items()} for row in csv.DictReader(stream)]


def _key(kind: str, described: Mapping[str, Any]) -> str:
    """The key of a component by its kind and description."""
    return json.dumps([kind, described], sort_keys=True)


class Results:
    """A finished run: its tables as rows, its config and its components.

    ``subgroups``, ``subgroup_comparisons`` and ``subgroup_ranks`` are empty unless the config has ``by``.
    ``parts`` are the runs with the heatmaps, by name: this one, or those that were joined. ``components`` are those of
    the run by kind, where they still live: some cannot be created from their description, such as data in memory.
    Raises ``StoreError`` if a file is missing, or is not as the run wrote it.
    """

    parts: Mapping[str, "Results"]

    def __init__(self, folder: Path, catalog: Catalog, components: Iterable[tuple[str, Component]] = ()):
        self._read(Run.open(folder), catalog)
        self._components |= {_key(kind, live.describe()): live for kind, live in components}
        self.text = self.run.read("config.yaml")
        self.config = self.run.mapping("config.yaml")
        if self.config.get("by"):
            for name in NAMES.values():
                setattr(self, name, read_rows(self.run.intact(f"{name}.csv")))
        self.parts = {"": self}

    def _read(self, run: Run, catalog: Catalog) -> None:
        """Read the tables of a folder."""
        self.run = run
        self.summary = read_rows(self.run.intact("summary.csv"))
        self.comparisons = read_rows(self.run.intact("comparisons.csv"))
        self.ranks = read_rows(self.run.intact("ranks.csv"))
        self.subgroups: list[dict[str, Any]] = []
        self.subgroup_comparisons: list[dict[str, Any]] = []
        self.subgroup_ranks: list[dict[str, Any]] = []
        self.skipped: list[dict[str, str]] = json.loads(self.run.read("skipped.json"))["skipped"]
        self.provenance: dict[str, Any] = json.loads(self.run.read("provenance.json"))
        self.catalog = catalog
        self._digest = file_digest(self.run.intact(SCORES))
        self._verified = self._stamp()
        self._components: dict[str, Any] = {}

    @cached_property
    def statistics(self) -> SummarySettings:
        """The settings that the tables were made with."""
        return SummarySettings.model_validate({**self.config["statistics"], "seed": self.config["seed"]})

    @property
    def flag(self) -> str:
        """The remark that every table has about intervals of this kind; empty for most kinds."""
        return self.statistics.flag

    @cached_property
    def selection(self) -> dict[str, Any]:
        """The settings that were filled from the tuning split, by key."""
        return self.run.mapping("selection.yaml")

    def _scores(self) -> str:
        """The path of the table of scores; raises ``StoreError`` if a later run has written another one."""
        stamp = self._stamp()
        if stamp != self._verified:
            path = self.run.intact(SCORES)
            if file_digest(path) != self._digest:
                reason = f"a later run has written {path}"
                raise StoreError(f"{reason}; open its results anew, or give each run its own folder.")
            self._verified = stamp
        return str(self.run.folder / SCORES)

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes with the file of scores; None without the file."""
        try:
            state = (self.run.folder / SCORES).stat()
        except OSError:
            return None
        return state.st_ino, state.st_size, state.st_mtime_ns

    @cached_property
    def described(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(combination, metric) → verdict, its reason, and the settings of all components."""
        rows = self.query(
            "select distinct on (combination, metric) combination, metric, verdict, verdict_reason, settings, "
            "metric_settings from scores order by all"
        )
        for row in rows:
            row |= {name: json.loads(row[name]) for name in ("settings", "metric_settings")}
        return {(row["combination"], row["metric"]): row for row in rows}

    def query(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """The rows that an SQL query of the table ``scores`` gives; ``values`` fill its question marks."""
        with connect() as connection:
            connection.read_parquet(self._scores(), hive_partitioning=False).create_view("scores")
            cursor = connection.execute(sql, values)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    @property
    def unscored(self) -> list[str]:
        """The keys of the units of heatmaps that no metric scores, which the table of scores does not name."""
        return list(self.provenance.get("unscored", ()))

    def component(self, kind: str, described: Mapping[str, Any]) -> Any:
        """The component that ``describe`` described; raises ``HeatproofError`` or ``ValueError``."""
        key = _key(kind, described)
        if key not in self._components:
            params = {name: value for name, value in described.items() if name != "use"}
            self._components[key] = create(self.catalog, kind, described["use"], params)
        return self._components[key]

    def announce(self) -> tuple[list[Path], list[str]]:
        """Call the plugins' ``heatproof_run_finished``; returns the pages written, and the errors."""
        return self.catalog.answers(
            "heatproof_run_finished", folder=self.run.folder, summary={"rows": self.summary}, results=self
        )
