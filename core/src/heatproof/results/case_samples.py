"""The samples of a finished run as their models prepared them, and the metadata of their predictions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..dataset import Dataset
from ..digests import file_digest
from ..errors import DataError, PluginError, StoreError
from ..imaging.losses import with_losses
from ..imaging.original import original_image
from ..model import Model
from ..plan.sample_cache import configured, prepared
from ..plan.sample_file import PreparedSample
from .finished import Results

Unit = Mapping[str, Any]
Row = Mapping[str, Any]


def prediction_units(results: Results, settings: Mapping[str, Any], heatmaps: Iterable[str]) -> Sequence[Unit]:
    """The ``unit.json`` of the predictions for the dataset and the model in ``settings``, in the order of keys.

    Only those count that belong to one of the units of ``heatmaps``, given by their keys: files of samples may have
    changed since others were made.

    Where the maps of a combination are the same for all models, the model that lent its grid counts. Raises
    ``StoreError`` where the run has no such predictions.
    """
    run = results.run
    model = settings["model"].get("grid_of", settings["model"])
    keys = {run.meta("heatmaps", key)["predictions"] for key in heatmaps}
    units = [run.meta("predictions", key) for key in sorted(keys) if run.has("predictions", key)]
    matching = [unit for unit in units if (unit["dataset"], unit["model"]) == (settings["dataset"], model)]
    if not matching:
        raise StoreError(f"{run.folder} has no predictions of {model['use']}; run the same config again.")
    return matching


def predictions(results: Results, units: Sequence[Unit], cases: Sequence[str]) -> dict[str, Row]:
    """Read the stored predictions of some cases from prediction units, by case."""
    paths = [results.run.verified("predictions", unit["key"]) / "predictions.parquet" for unit in units]
    rows = results.query(
        "from read_parquet(?, hive_partitioning=false) where list_contains(?, \"case\") and status = 'valid'",
        list(map(str, paths)),
        list(cases),
    )
    return {row["case"]: row for row in rows}


def class_names(row: Row | None, classes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Name the label and the decision of a prediction by their classes; empty without a prediction."""
    if row is None:
        return {}
    names = {}
    if row["label"]:
        names["label"] = ", ".join(classes["dataset"][index] for index in row["label"])
    names["predicted"] = classes["model"][row["decision"]]
    return names


def prepared_sample(results: Results, units: Sequence[Unit], case: str) -> PreparedSample:
    """A case as its model prepared it: from the cache of samples, or else from the dataset.

    ``units`` are the prediction units of the case's dataset and model. Raises what creating the dataset and the model,
    loading and preparing raise.
    """
    keys = [unit["samples"][case] for unit in units if case in unit["samples"]]
    cache = prepared(configured(_cache_folder(results), results.config["cache_limit"]))
    for key in keys:
        sample = cache.stored(key)
        if sample is not None:
            return sample
    dataset = _dataset(results, units[0]["dataset"], case)
    _require_unchanged(dataset, units, case)
    return prepare(dataset, results.component("model", units[0]["model"]), case)


def _cache_folder(results: Results) -> Path | bool:
    """The cache of a run; one in the folder of the run moves with that folder."""
    setting = results.config["cache"]
    if not isinstance(setting, str):
        return bool(setting)
    folder = Path(setting)
    output = Path(results.config["output"])
    return results.run.folder / folder.relative_to(output) if folder.is_relative_to(output) else folder


def _dataset(results: Results, described: Mapping[str, Any], case: str) -> Dataset:
    """The dataset of a case without a prepared sample; raises ``StoreError`` if its images were only in memory."""
    try:
        dataset: Dataset = results.component("dataset", described)
    except PluginError as error:
        if "content" not in described:
            raise
        raise StoreError(
            f"{results.run.folder} has no prepared sample of {case!r} any more, and its image was in memory; compare "
            "the same images again, with this folder as output."
        ) from error
    return dataset


def _require_unchanged(dataset: Dataset, units: Sequence[Unit], case: str) -> None:
    """Raise ``DataError`` if a file of a case is not the one that was scored."""
    digests: dict[str, str] = {}
    for unit in units:
        if case in unit["ids"]:
            digests |= unit["files"]
    root = dataset.root()
    for path in dataset.files_of(case) or ():
        name = str(path)
        if root and path.is_relative_to(root):
            name = path.relative_to(root).as_posix()
        if name in digests and path.is_file() and file_digest(path) != digests[name]:
            raise DataError(f"{path} has changed since this run; run the same config again.")


def prepare(dataset: Dataset, model: Model, id: str) -> PreparedSample:
    """A sample, loaded and prepared, that no cache holds; raises what loading and preparing raise."""
    native = dataset.load(id)
    sample = with_losses(native, model.prepare(native))
    return PreparedSample(sample, original_image(native, sample))
