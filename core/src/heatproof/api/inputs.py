"""The dataset and the model of what a caller gives: a network or a model, images or a dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..component import Component
from ..config.components import create
from ..dataset import Dataset
from ..errors import DataError, ModelError
from ..imaging.window import Window
from ..model import Head, Model
from ..records import Sample
from ..registry.catalog import Catalog
from .folders import has_layout, matched, plain_files
from .images import Collection, GivenImages, collected
from .layout import Form
from .networks import Say, in_single_precision, model_of
from .preparations import preparation_of, require_unprepared

INTERFACES: Mapping[str, type[Component]] = {"dataset": Dataset, "model": Model}


@dataclass(frozen=True)
class Given:
    """What a caller says of network and images; None where it is inferred."""

    classes: tuple[str, ...] | None = None
    head: Head | None = None
    preparation: Any = None
    labels: Any = None
    patients: Any = None
    ids: Any = None
    name: str = "images"
    annotations: Mapping[str, Any] = field(default_factory=dict)
    window: Window | None = None

    def require_network(self, model: Model) -> None:
        """Raise ``ModelError`` if something is given that a model brings itself."""
        values = {"preparation": self.preparation, "classes": self.classes, "head": self.head}
        twice = [name for name, value in values.items() if value is not None]
        if twice:
            raise ModelError(f"{model.short} brings its own {twice[0]}; leave {', '.join(twice)} out.")

    def require_images(self, dataset: Dataset) -> None:
        """Raise ``DataError`` if something is given that a dataset brings itself."""
        values = {"labels": self.labels, "patients": self.patients, "ids": self.ids, "window": self.window}
        values |= self.annotations
        twice = [name for name, value in values.items() if value is not None]
        if twice:
            raise DataError(f"{dataset.short} brings its own {twice[0]}; leave {', '.join(twice)} out.")


def parts(network: Any, images: Any, given: Given, catalog: Catalog, say: Say) -> tuple[Dataset, Model]:
    """The dataset and the model that a run compares on; ``say`` takes a sentence about whatever was inferred.

    Raises ``DataError`` and ``ModelError`` for what cannot be used, before anything runs.
    """
    model = component(catalog, "model", network)
    if model is None and not isinstance(network, nn.Module):
        raise ModelError(f"the network is a {type(network).__name__}; give a torch module, or a model of heatproof.")
    module = model.network if model is not None else in_single_precision(network, say)
    dataset = component(catalog, "dataset", images)
    if dataset is None and has_layout(images):
        dataset = _folder(images, catalog)
    if model is not None:
        given.require_network(model)
    if dataset is not None:
        given.require_images(dataset)
        return dataset, model or _model_of_dataset(module, dataset, given, catalog, say)
    collection = _collection(images, Form.of(module), given, say)
    if model is not None:
        require_unprepared(collection)
    else:
        preparation = preparation_of(given.preparation, module, collection, catalog, say)
        model = model_of(module, given.classes, given.head, preparation, preparation(collection.sample(0)), say)
    images = GivenImages(collection=collection, classes=model.classes)
    images.content()  # refuses labels that are none of the classes
    return images, model


def component(catalog: Catalog, kind: str, value: Any) -> Any:
    """The component that a value is, or describes by its name, or by name and settings; None for anything else."""
    if isinstance(value, Component):
        if not isinstance(value, INTERFACES[kind]):
            raise DataError(f"a {type(value).__name__} is no {kind}; see the documentation of heatproof.compare.")
        return value
    if kind == "model" and isinstance(value, str):
        value = (value, {})
    if is_pair(value):
        return create(catalog, kind, value[0], value[1])
    return None


def is_pair(value: Any) -> bool:
    """Whether a value is a name with its settings."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Mapping)


def _folder(path: Any, catalog: Catalog) -> Dataset:
    """The dataset of a folder that has a layout; raises ``DataError`` where no plugin reads it."""
    dataset: Dataset | None = catalog.first("heatproof_folder", folder=Path(path).expanduser().absolute())
    if dataset is None:
        raise DataError(
            f"{path} has folders or tables in it, and no installed plugin reads them; give a folder with images only, "
            "or a dataset by its name and settings, as in images=(NAME, {'root': …})."
        )
    return dataset


def _collection(images: Any, form: Form, given: Given, say: Say) -> Collection:
    images = plain_files(images)
    annotations = {kind: matched(values, images, kind, say) for kind, values in given.annotations.items()}
    collection = collected(images, form, given.name, given.ids, given.labels, given.patients, annotations, given.window)
    say(f"Images: {len(collection.ids)}, {collection.words}.")
    if given.patients is None and len(collection.ids) > 1:
        say("Every image counts as a patient of its own, since no patients are given.")
    return collection


def _model_of_dataset(network: nn.Module, dataset: Dataset, given: Given, catalog: Catalog, say: Say) -> Model:
    """The model of a network on a dataset; its classes are the dataset's where none are given."""
    preparation = preparation_of(given.preparation, network, None, catalog, say)
    ids = dataset.ids()
    if not ids:
        raise DataError(f"{dataset.short} has no samples; check its folder with `heatproof data check`.")
    sample: Sample = preparation(dataset.load(ids[0]))
    classes = given.classes
    if classes is None and dataset.classes:
        classes = dataset.classes
        say(f"The network's outputs are taken in the order of the dataset's classes: {', '.join(classes)}.")
    return model_of(network, classes, given.head, preparation, sample, say)
