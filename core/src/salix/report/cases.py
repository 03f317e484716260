"""The best and worst cases of the leading combinations: pictures, scores and predictions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ..catalog import Catalog
from ..dataset import Dataset
from ..model import Model
from ..records import Array
from ..store import connect
from .picture import Picture, picture
from .ranking import Entry, Ranking
from .results import Results, made, rows_of


@dataclass(frozen=True)
class Example:
    """One case: its scores by measure, what was expected and predicted, and its picture or why there is none."""

    case: str
    patient: str
    value: float
    scores: Mapping[str, float | None]
    prediction: Mapping[str, str] = field(default_factory=dict)
    picture: Picture | None = None
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
        order = "desc" if ranking.standard.higher_is_better else "asc"
        rows = self.results.query(
            'select "case", patient, value, heatmap, row from scores where combination = ? and metric = ? and measure = ? '
            f'and split = ? and status = \'valid\' and value is not null order by value {order}, "case"',
            entry.row["combination"], ranking.metric, ranking.measures[0], ranking.split,
        )  # fmt: skip
        best, worst = rows[: self.count], rows[self.count :][-self.count :][::-1]
        found = self._scores(ranking, entry, [row["case"] for row in best + worst])
        said = self._predictions(entry, list(found))
        groups = {name: [self._example(entry, row, found, said) for row in some] for name, some in
                  {"Best": best, "Worst": worst}.items()}  # fmt: skip
        return Gallery(ranking, entry, groups)

    def _scores(self, ranking: Ranking, entry: Entry, cases: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Case → measure → value."""
        rows = self.results.query(
            'select "case", measure, value from scores where combination = ? and metric = ? and split = ? '
            'and list_contains(?, "case")',
            entry.row["combination"], ranking.metric, ranking.split, list(cases),
        )  # fmt: skip
        values = {(row["case"], row["measure"]): row["value"] for row in rows}
        return {case: {name: values.get((case, name)) for name in ranking.measures} for case in cases}

    def _example(
        self, entry: Entry, row: Mapping[str, Any], scores: Mapping[str, Any], predictions: Mapping[str, Any]
    ) -> Example:
        id = row["case"]
        known = (id, row["patient"], row["value"], scores[id])
        try:
            dataset, model = self._dataset(entry), self._model(entry)
            native = dataset.load(id)
            shown = picture(native, model.prepare(native), self._map(row), dataset.findings)
            return Example(*known, _words(predictions.get(id, {}), dataset, model), shown)
        except Exception as error:  # whatever a plugin or a moved folder raises costs one picture
            return Example(*known, problem=f"{type(error).__name__}: {error}")

    def _map(self, row: Mapping[str, Any]) -> Array:
        return self.results.run.maps(PurePosixPath(row["heatmap"]).parts[1], int(row["row"]))

    def _dataset(self, entry: Entry) -> Dataset:
        found: Dataset = self._component("dataset", entry.settings["dataset"])
        return found

    def _model(self, entry: Entry) -> Model:
        found: Model = self._component("model", entry.settings["model"])
        return found

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
            chosen = "select * from read_parquet(?) where list_contains(?, \"case\") and status = 'valid'"
            return {row["case"]: row for row in rows_of(connection.execute(chosen, [files, list(cases)]))}

    def _of(self, entry: Entry, key: str) -> bool:
        meta = self.results.run.meta("predictions", key)
        return all(meta[name] == entry.settings[name] for name in ("dataset", "model"))


def _words(row: Mapping[str, Any], dataset: Dataset, model: Model) -> dict[str, str]:
    """Label and decision by name."""
    said = {"label": _named(row["label"] or (), dataset.classes)} if row else {}
    return said | ({"predicted": _named([row["decision"]], model.classes)} if row else {})


def _named(indices: Iterable[int], classes: Sequence[str]) -> str:
    return ", ".join(classes[index] if index < len(classes) else str(index) for index in indices) or "none"
