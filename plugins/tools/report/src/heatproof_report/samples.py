"""The samples that a page shows, as their models prepared them, and the predictions beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heatproof.dataset import Dataset
from heatproof.errors import StoreError
from heatproof.imaging.original import original_image
from heatproof.model import Model
from heatproof.plan.sample_cache import configured, prepared
from heatproof.plan.sample_file import PreparedSample
from heatproof.results.finished import Results


def prediction_units(results: Results, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the ``unit.json`` of all predictions say that belong to a combination with these ``settings``.

    Where its maps are the same for all models, those of the model that lent its grid. Raises ``StoreError`` where there
    are none.
    """
    run = results.run
    model = settings["model"].get("grid_of", settings["model"])
    units = [run.meta("predictions", key) for key in sorted(run.keys("predictions"))]
    matching = [unit for unit in units if (unit["dataset"], unit["model"]) == (settings["dataset"], model)]
    if not matching:
        raise StoreError(f"{run.folder} has no predictions of {model['use']}; run the same config again.")
    return matching


def prepared_sample(results: Results, settings: Mapping[str, Any], case: str) -> PreparedSample:
    """A case of a combination as its model prepared it: from the cache where it is still there, else made anew.

    Raises what making the components, loading and preparing raise.
    """
    units = prediction_units(results, settings)
    keys = [unit["samples"][case] for unit in units if case in unit["samples"]]
    folder = results.config["cache"]
    cache = configured(Path(folder) if isinstance(folder, str) else folder, results.config["cache_limit"])
    stored = next(filter(None, map(prepared(cache).stored, keys)), None)
    if stored is not None:
        return stored
    dataset = results.component("dataset", settings["dataset"])
    return prepare(dataset, results.component("model", units[0]["model"]), case)


def prepare(dataset: Dataset, model: Model, id: str) -> PreparedSample:
    """A sample that is in no cache; raises what loading and preparing raise."""
    native = dataset.load(id)
    sample = model.prepare(native)
    return PreparedSample(sample, original_image(native, sample))
