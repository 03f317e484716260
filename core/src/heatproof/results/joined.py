"""Several finished runs as one: their combinations on the same samples, compared with each other.

Combinations are named after the folders of their runs. What cannot be compared is refused. Tables of subgroups are not
joined.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .finished import Results
from .parquet import connect, copy_table, read_table
from .ranking import family
from .scores import NAME_COLUMNS, ScoredCombination, cases_of, write_csv
from .store import Run
from .summary import SummarySettings
from .summary import results as tables

Family = tuple[str, str, str]
LISTS = ("datasets", "models", "explainers", "metrics", "combinations", "targets", "reductions")
"""The lists of a config that are joined."""


def join(runs: Sequence[Results], folder: Path) -> Results:
    """Join finished runs in a new folder, with tables of all their combinations; returns what a page is made from.

    Only rankings that all runs have are joined; the others are listed as skipped. Raises ``StoreError`` if the runs are
    not comparable, and ``PluginError`` where the plugin of a metric is missing.
    """
    named = _named(runs)
    _refuse_folder(folder, runs)
    shared = _shared_families(named)
    _require_comparable(named, shared)
    folder.mkdir(parents=True, exist_ok=True)
    store = Run(folder)
    settings = runs[0].statistics
    _write_scores(store, named, shared)
    scored = [entry for name, results in named.items() for entry in _scored(name, results, shared, settings)]
    for name, table in tables(cases_of(read_table(folder / "scores.parquet"), scored), settings).items():
        write_csv(store, f"{name}.csv", table.columns, table.rows)
    store.write_json("skipped.json", {"skipped": [*_skipped(named), *_left_out(named, shared)]})
    store.write_json("provenance.json", _provenance(named))
    return Joined(store, named)


class Joined(Results):
    """Joined runs; ``parts`` are the runs by name, in which heatmaps and predictions lie."""

    def __init__(self, store: Run, named: Mapping[str, Results]):
        first = next(iter(named.values()))
        self._read(store, first.catalog)
        self.config = dict(first.config)
        for key in LISTS:
            entries = (entry for results in named.values() for entry in results.config[key])
            self.config[key] = list({json.dumps(entry, sort_keys=True): entry for entry in entries}.values())
        self.config["by"] = []
        self.text = "\n".join(f"# {name}\n{results.text}" for name, results in named.items())
        self.parts = named

    @property
    def selection(self) -> dict[str, Any]:
        """The settings that were filled in any of the runs, by key."""
        return reduce(dict.__or__, (results.selection for results in self.parts.values()), {})


def _named(runs: Sequence[Results]) -> dict[str, Results]:
    """The runs by the names of their folders, with the folder above where two are equal."""
    folders = [results.run.folder.resolve() for results in runs]
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    if len(set(names)) < len(names):
        raise StoreError(f"two runs have the name {max(names, key=names.count)}; give different folders.")
    return dict(zip(names, runs))


def _refuse_folder(folder: Path, runs: Sequence[Results]) -> None:
    inside = [results.run.folder for results in runs if results.run.folder.resolve() == folder.resolve()]
    if inside or (folder / "config.yaml").exists():
        raise StoreError(f"{folder} is the folder of a run; choose another --output.")


def joined_key(name: str, combination: str) -> str:
    """The key of a combination among joined runs."""
    return f"{name}:{combination}"


def _shared_families(named: Mapping[str, Results]) -> set[Family]:
    families = [{family(row) for row in results.summary} for results in named.values()]
    shared = set.intersection(*families)
    if not shared:
        listed = "; ".join(f"{name}: {_listed(rankings)}" for name, rankings in zip(named, families))
        raise StoreError(f"these runs have no ranking in common ({listed}); give runs on the same data and metrics.")
    return shared


def _listed(families: Iterable[Family]) -> str:
    return ", ".join(sorted(" · ".join(key) for key in families))


def _require_comparable(named: Mapping[str, Results], shared: set[Family]) -> None:
    """Raise ``StoreError`` with the first difference between the first run and another."""
    (first, *others) = named.items()
    for other in others:
        _require_equal("statistics", first, other, [results.config["statistics"] for _, results in (first, other)])
        for key in sorted(shared):
            where = " · ".join(key)
            settings = [_settings(results, key) for _, results in (first, other)]
            for part in ("metric", "dataset"):
                _require_equal(f"settings of the {part} of {where}", first, other, [entry[part] for entry in settings])
            _require_same_cases(where, first, other, [_cases(results, key) for _, results in (first, other)])
        _require_same_files(first, other)


def _require_equal(what: str, first: Any, other: Any, values: Sequence[Mapping[str, Any]]) -> None:
    before, after = values
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if names:
        name = names[0]
        raise StoreError(
            f"these runs cannot be compared: the {what} differ: {name} is {before.get(name)} in {first[0]} and "
            f"{after.get(name)} in {other[0]}."
        )


def _settings(results: Results, key: Family) -> dict[str, Mapping[str, Any]]:
    """The settings of the metric and the dataset of a ranking."""
    row = next(row for row in results.summary if family(row) == key)
    described = results.described[row["combination"], row["metric"]]
    dataset = {name: value for name, value in described["settings"]["dataset"].items() if name != "root"}
    return {"metric": described["metric_settings"], "dataset": dataset}


def _cases(results: Results, key: Family) -> set[str]:
    rows = results.query('select distinct "case" from scores where (dataset, split, metric) = (?, ?, ?)', *key)
    return {row["case"] for row in rows}


def _require_same_cases(where: str, first: Any, other: Any, cases: Sequence[set[str]]) -> None:
    before, after = cases
    for lacking, having, missing in ((other[0], first[0], before - after), (first[0], other[0], after - before)):
        if missing:
            raise StoreError(
                f"these runs cannot be compared: {lacking} lacks {len(missing)} of the cases that {having} has of "
                f"{where}, such as {min(missing)}."
            )


def _require_same_files(first: tuple[str, Results], other: tuple[str, Results]) -> None:
    before, after = (_files(results) for _, results in (first, other))
    for path in sorted(before.keys() & after.keys()):
        if before[path] != after[path]:
            raise StoreError(
                f"these runs cannot be compared: {path} has another content in {other[0]} than in {first[0]}; run both "
                "configs again."
            )


def _files(results: Results) -> dict[str, str]:
    """The digests of all files that the predictions of a run were made from."""
    files: dict[str, str] = {}
    for key in sorted(results.run.keys("predictions")):
        files |= results.run.meta("predictions", key)["files"]
    return files


def _write_scores(store: Run, named: Mapping[str, Results], shared: set[Family]) -> None:
    """Write the rows of all runs as one table, with names that contain those of the runs."""
    parts = []
    values: list[str] = []
    for name, results in named.items():
        parts.append(
            "select * replace (concat(?, ':', combination) as combination, "
            "case when model = '' then '' else concat(?, ': ', model) end as model, "
            "case when model = '' then concat(?, ': ', explainer) else explainer end as explainer) "
            "from read_parquet(?, hive_partitioning=false)"
        )
        values += [name, name, name, str(results.run.intact("scores.parquet"))]
    keep = " or ".join("(dataset, split, metric) = (?, ?, ?)" for _ in shared)
    values += [text for key in sorted(shared) for text in key]
    with store.replacing("scores.parquet") as partial, connect() as connection:
        connection.execute(
            f"create or replace temp table joined as select * from ({' union all by name '.join(parts)}) where {keep} "
            'order by dataset, split, model, explainer, target, reduction, combination, metric, measure, "case"',
            values,
        )
        copy_table(connection, "joined", partial)


def _scored(name: str, results: Results, shared: set[Family], settings: SummarySettings) -> Iterable[ScoredCombination]:
    """The combinations of a run under each shared metric; a baseline belongs to its run."""
    rows = {(row["combination"], row["split"], row["metric"]): row for row in results.summary if family(row) in shared}
    for (combination, _, metric), row in rows.items():
        described = results.described[combination, metric]
        columns = {key: row[key] for key in (*NAME_COLUMNS, "verdict")}
        columns |= {"combination": joined_key(name, combination), "verdict_reason": described["verdict_reason"]}
        if row["model"]:
            columns["model"] = f"{name}: {row['model']}"
        else:
            columns["explainer"] = f"{name}: {row['explainer']}"
        component = results.component("metric", described["metric_settings"])
        flag = str(row["flag"]).removesuffix(settings.flag).removesuffix("; ")
        dataset = json.dumps(_settings(results, family(row))["dataset"], sort_keys=True)
        yield ScoredCombination(columns, component, metric, (), row["baseline"], flag, dataset, name, columns["model"])


def _skipped(named: Mapping[str, Results]) -> Iterable[dict[str, str]]:
    for name, results in named.items():
        yield from ({**row, "model": f"{name}: {row['model']}"} for row in results.skipped)
        if results.subgroups:
            names = ", ".join(dict.fromkeys(row["by"] for row in results.subgroups))
            reason = f"tables by {names} are not joined; see {results.run.folder / 'subgroups.csv'}"
            yield {"dataset": "all", "model": name, "explainer": "all", "reason": reason}


def _left_out(named: Mapping[str, Results], shared: set[Family]) -> Iterable[dict[str, str]]:
    """A row for every ranking that some of the runs lack."""
    for name, results in named.items():
        for key in sorted({family(row) for row in results.summary} - shared):
            yield {
                "dataset": key[0],
                "model": name,
                "explainer": "all",
                "reason": f"not all runs have {' · '.join(key)}",
            }


def _provenance(named: Mapping[str, Results]) -> dict[str, Any]:
    """The provenance of all runs, each entry once."""
    origins = {name: results.provenance for name, results in named.items()}
    merged = dict(next(iter(origins.values())))
    for key in ("environments", "models", "datasets", "explainers", "metrics"):
        entries = (entry for origin in origins.values() for entry in origin[key])
        merged[key] = list({json.dumps(entry, sort_keys=True): entry for entry in entries}.values())
    merged["rows"] = {
        f"{name}: {key}": rows for name, origin in origins.items() for key, rows in origin["rows"].items()
    }
    return merged
