"""One case of a run: its image, its prediction, its heatmaps and its scores."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import DataError, HeatproofError
from ..imaging.original import on_original
from ..plan.sample_file import PreparedSample
from ..records import Array, Geometry, Sample
from ..results.case_samples import prediction_units, prepared_sample
from .rows import table_of

if TYPE_CHECKING:
    from .result import Result

SETTINGS = ("explainer", "model", "target", "reduction", "dataset")
"""The columns that tell the heatmaps of one case apart."""


class Case:
    """One case with everything that the run has computed of it; ``units`` are those that contain it, by key."""

    def __init__(self, result: "Result", id: str, units: Mapping[str, Mapping[str, Any]]):
        self.result = result
        self.id = id
        self.units = units

    def heatmap(self, explainer: str | None = None, original: bool = False, **settings: str) -> Array:
        """The heatmap of an explainer (h, w) float32 on the model's grid, or on the original image.

        ``explainer`` is its name, with settings where several have it; ``settings`` are model, target, reduction or
        dataset. On the original image, pixels outside the grid are NaN. Raises ``HeatproofError`` where none or
        several heatmaps fit, and where the case has none.
        """
        key = self._key(explainer, settings)
        row = self.units[key]["ids"].index(self.id)
        entry = self.units[key]["cases"][row]
        if entry["status"] != "valid":
            raise HeatproofError(f"{self.id} has no heatmap of {self.units[key]['explainer']}: {entry['reason']}.")
        values = self.result.results.run.maps(key, row)
        return on_original(values, self._geometry(key)) if original else values

    def kept(self, explainer: str | None = None, **settings: str) -> dict[str, Array]:
        """The further arrays that an explainer keeps, by name."""
        key = self._key(explainer, settings)
        return self.result.results.run.kept(key, self.units[key]["ids"].index(self.id))

    @property
    def sample(self) -> Sample:
        """The case as its model prepared it, with annotations, label and patient."""
        return self._prepared(next(iter(self.units))).sample

    @property
    def image(self) -> Array:
        """The image (h, w, 3) uint8 on the model's grid; for a volume, the prepared values (c, d, h, w)."""
        prepared = self._prepared(next(iter(self.units)))
        return prepared.sample.image if prepared.original is None else prepared.original

    @cached_property
    def prediction(self) -> dict[str, float]:
        """The probability of each class by the network; that of one output without classes by the name ``output``."""
        unit = self._predicted(next(iter(self.units)))
        table = self.result.results.run.table("predictions", unit["key"])
        row = list(table["case"]).index(self.id)
        if table["status"][row] != "valid":
            raise HeatproofError(f"{self.id} has no prediction: {table['reason'][row]}.")
        values = [float(value) for value in table["probabilities"][row]]
        names = list(unit["classes"]["model"])
        if len(values) == 1 and len(names) == 2 and self._head(unit) == "sigmoid":
            values = [1 - values[0], values[0]]
        return dict(zip(names if len(names) == len(values) else ["output"], values))

    def _head(self, unit: Mapping[str, Any]) -> str:
        """How the model reads its outputs; empty where the model is not known any more."""
        try:
            return str(self.result.results.component("model", unit["model"]).head)
        except (HeatproofError, ValueError):
            return ""

    @property
    def scores(self) -> Any:
        """The scores of this case: a data frame where pandas is installed, else a list of rows."""
        query = 'select explainer, model, target, metric, measure, value, status, reason from scores where "case" = ?'
        return table_of(self.result.results.query(f"{query} order by all", self.id))

    def figure(self, *explainers: str, **options: Any) -> Any:
        """A figure of the image and its heatmaps, of all explainers by default."""
        if explainers:
            options["explainers"] = list(explainers)
        return self.result.figure("cases", cases=[self.id], **options)

    def show(self) -> Any:
        """The figure of all heatmaps, which a notebook shows."""
        return self.figure()

    def __repr__(self) -> str:
        names = dict.fromkeys(unit["explainer"] for unit in self.units.values())
        return f"Case({self.id!r}, heatmaps: {', '.join(names)})"

    def _key(self, explainer: str | None, settings: Mapping[str, str]) -> str:
        """The key of the single unit that fits; raises ``HeatproofError`` for none and for several."""
        unknown = [name for name in settings if name not in SETTINGS]
        if unknown:
            raise HeatproofError(f"a heatmap has no {unknown[0]!r}; allowed: {', '.join(SETTINGS)}.")
        units = self.units
        if explainer is None:
            units = {
                key: unit for key, unit in units.items() if unit["combination"] not in self.result.baselines
            } or units
        for name, value in {"explainer": explainer, **settings}.items():
            if value is not None:
                units = _fitting(units, name, str(value))
        if len(units) > 1:
            choices = "; ".join(sorted(", ".join(filter(None, map(unit.get, SETTINGS))) for unit in units.values()))
            raise HeatproofError(
                f"{self.id} has {len(units)} heatmaps that fit; name explainer, model or target: {choices}"
            )
        return next(iter(units))

    def _predicted(self, key: str) -> Mapping[str, Any]:
        """The unit of the predictions that belong to a unit of heatmaps."""
        return prediction_units(self.result.results, self.units[key]["settings"], [key])[0]

    def _prepared(self, key: str) -> PreparedSample:
        return prepared_sample(self.result.results, [self._predicted(key)], self.id)

    def _geometry(self, key: str) -> Geometry:
        geometry = self._prepared(key).sample.geometry
        if geometry is None:
            raise DataError(
                f"nothing tells where the grid of {self.id} lies on its original; its preparation is unknown."
            )
        return geometry


def _fitting(units: Mapping[str, Mapping[str, Any]], name: str, value: str) -> dict[str, Mapping[str, Any]]:
    """The units with this value, or else those whose value has it as its name before the settings."""
    exact = {key: unit for key, unit in units.items() if unit[name] == value}
    fitting = exact or {key: unit for key, unit in units.items() if str(unit[name]).partition("(")[0] == value}
    if not fitting:
        allowed = ", ".join(sorted({str(unit[name]) for unit in units.values()}))
        raise HeatproofError(f"no heatmap has the {name} {value!r}; allowed: {allowed}.")
    return fitting
