"""The best and worst cases of the leading combinations: pictures, scores and predictions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from ..dataset import Dataset
from ..errors import HeatproofError
from ..model import Model
from ..registry.catalog import Catalog
from ..registry.plugins import reason
from ..results.parquet import connect
from .kept import Kept, kept
from .picture import Picture, picture
from .ranking import Entry, Ranking
from .results import Results, made, rows_of


@dataclass(frozen=True)
class Example:
    """One case: its scores by measure, what was expected and predicted, and its pictures or why there are none."""

    case: str
    patient: str
    value: float
    scores: Mapping[str, float | None]
    prediction: Mapping[str, str] = field(default_factory=dict)
    picture: Picture | None = None
    kept: Kept | None = None
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The best and the worst cases of one combination."""

    ranking: Ranking
    entry: Entry
    groups: Mapping[str, Sequence[Example]]


class Cases:
    """Finds the cases that the page shows; components that are gone cost their pictures, never the report."""

    def __init__(self, results: Results, catalog: Catalog):
        self.results, self.catalog = results, catalog
        self.count = int(results.config.get("report", {}).get("examples", 2))
        self._made: dict[str, Any] = {}

    def galleries(self, ranking: Ranking) -> list[Gallery]:
        """The best combination of every model that has heatmaps."""
        leaders: dict[str, Entry] = {}
        for entry in ranking.compared:
            if entry.row["explainer"] and entry.value == entry.value:
                leaders.setdefault(entry.row["model"], entry)
        return [self._gallery(ranking, entry) for entry in leaders.values() if self.count]

    def _gallery(self, ranking: Ranking, entry: Entry) -> Gallery:
        rows = self.results.scores(entry.row)
        ranked = [row for row in rows if row["measure"] == ranking.measures[0] and row["value"] is not None]
        ranked.sort(key=lambda row: float(row["value"]), reverse=ranking.standard.higher_is_better)
        best, worst = ranked[: self.count], ranked[self.count :][-self.count :][::-1]
        told = self._predictions(entry, [row["case"] for row in best + worst])
        scores: dict[str, dict[str, float | None]] = {}
        for row in rows:
            scores.setdefault(row["case"], {})[row["measure"]] = row["value"]
        groups = {"Best": best, "Worst": worst}
        examples = {name: [self._example(entry, row, scores, told) for row in some] for name, some in groups.items()}
        return Gallery(ranking, entry, examples)

    def _example(
        self,
        entry: Entry,
        row: Mapping[str, Any],
        scores: Mapping[str, Mapping[str, float | None]],
        told: Mapping[str, Mapping[str, Any]],
    ) -> Example:
        case, described = row["case"], entry.settings["model"]
        example = Example(case, row["patient"], row["value"], scores[case])
        try:
            dataset: Dataset = self._component("dataset", entry.settings["dataset"])
            model: Model = self._component("model", described.get("grid_of", described))
            native = dataset.load(case)
            prepared = model.prepare(native)
            heatmap = PurePosixPath(row["heatmap"]).parts[1], int(row["row"])
            values, arrays = self.results.run.maps(*heatmap), self.results.run.kept(*heatmap)
            return replace(
                example,
                picture=picture(native, prepared, values, dataset.findings),
                kept=kept(arrays, prepared, values, model.classes),
                prediction=_words(told.get(case), dataset, model),
            )
        except Exception as error:  # whatever a plugin or a moved folder raises costs one picture
            return replace(example, problem=str(error) if isinstance(error, HeatproofError) else reason(error))

    def _component(self, kind: str, described: Mapping[str, Any]) -> Any:
        key = json.dumps([kind, described], sort_keys=True)
        if key not in self._made:
            self._made[key] = made(self.catalog, kind, described)
        return self._made[key]

    def _predictions(self, entry: Entry, cases: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Case → the stored prediction of the entry's model."""
        keys = sorted(key for key in self.results.run.keys("predictions") if self._of(entry, key))
        files = [str(self.results.run.unit("predictions", key) / "predictions.parquet") for key in keys]
        if not files:
            return {}
        with connect() as connection:
            chosen = connection.execute(
                "from read_parquet(?, hive_partitioning=false) where list_contains(?, \"case\") and status = 'valid'",
                [files, list(cases)],
            )
            return {row["case"]: row for row in rows_of(chosen)}

    def _of(self, entry: Entry, key: str) -> bool:
        meta = self.results.run.meta("predictions", key)
        return all(meta[name] == entry.settings[name] for name in ("dataset", "model"))


def _words(row: Mapping[str, Any] | None, dataset: Dataset, model: Model) -> dict[str, str]:
    """Label and decision by name, as far as they are known."""
    if row is None:
        return {}
    label = {"label": ", ".join(dataset.classes[index] for index in row["label"])} if row["label"] else {}
    return label | {"predicted": model.classes[row["decision"]]}
