"""Classifiers of timm by name."""

from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heatproof.errors import ModelError, near
from heatproof_checkpoints.checkpoint import Translations
from heatproof_checkpoints.efficientnet import of_efficientnet_pytorch
from heatproof_checkpoints.packaged import PACKAGE, packaged
from heatproof_classifiers.classifier import COLOURS, Classifier
from heatproof_classifiers.record import Record, unique
from heatproof_timm.evaluation import evaluation

USUAL = ("pretrained", "DEFAULT")
"""The names of the weights that belong to a network's name with its tag."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""The files with weights in a repository of timm."""


@cache
def labels(subset: str) -> tuple[str, ...]:
    """Return the first name of each class of a part of ImageNet, in the order of the outputs."""
    from timm.data.imagenet_info import ImageNetInfo

    return unique([description.split(",")[0] for description in ImageNetInfo(subset).label_descriptions()])


class Timm(Classifier):
    """A classifier of timm, such as ``resnet18`` or, with the tag of its weights, ``resnet18.a1_in1k``.

    Images are prepared as timm evaluates these weights: its record (``pretrained_cfg``) has their size, interpolation,
    crop and normalisation. ``options`` hold settings of the network, such as ``in_chans: 1``.
    """

    library = "timm"

    @cached_property
    def _record(self) -> Mapping[str, Any]:
        """What timm knows of the weights of this name; raises ``ModelError`` for an unknown name or tag."""
        import timm
        from timm.models import get_pretrained_cfg

        name = self.params.name
        architecture = name.partition(".")[0]
        if not timm.is_model(architecture):
            raise ModelError(f"timm has no network {name!r}; {near(architecture.lower(), timm.list_models())}")
        if name != architecture and not timm.is_model_pretrained(name):
            tagged = timm.list_models(f"{architecture}.*", pretrained=True)
            raise ModelError(f"timm has no weights {name!r}; {near(name, [architecture, *tagged])}")
        record: Any = get_pretrained_cfg(name)
        if record is None:
            return {}
        return {key: value for key, value in record.to_dict().items() if value is not None}

    @property
    def channels(self) -> int:
        """The channels of the network's images: the option ``in_chans``, or 3."""
        return self._count("in_chans") or COLOURS

    def _count(self, name: str) -> int | None:
        """An option that is a number of channels or pixels, or None; raises ``ModelError`` for anything else."""
        value = self.params.options.get(name)
        if value is None or (type(value) is int and value > 0):
            return value
        raise ModelError(f"options: {name} is {value!r}; give a whole number above 0.")

    def record(self) -> Record:
        """Look up the classes and the transform of the network's weights."""
        params = self.params
        changes: dict[str, Any] = {}
        size = params.size or self._count("img_size")
        if size is not None:
            changes["input_size"] = (self.channels, size, size)
        if params.fit == "stretch":
            changes |= {"crop_mode": "squash", "crop_pct": 1.0}
        for name in ("mean", "std"):
            values = getattr(params, name) or (params.weights == PACKAGE and getattr(packaged(params.name), name))
            if values:
                changes[name] = values * (self.channels // len(values))
        record = dict(self._record) | {name: changes.pop(name) for name in ("mean", "std") if name in changes}
        return Record(params.classes or self._labels(), evaluation(changes, record))

    def _labels(self) -> tuple[str, ...]:
        """The names of the classes of the weights; empty for other data than ImageNet's."""
        from timm.data.imagenet_info import infer_imagenet_subset

        subset = infer_imagenet_subset(dict(self._record))
        if subset is None:
            return ()
        return labels(subset)

    def _options(self) -> dict[str, Any]:
        """The options, with the size of a network that takes images of one size only, and those of its package."""
        options = dict(self.params.options)
        if self.params.weights == PACKAGE:
            options = {**packaged(self.params.name).options, **options}
        if self.params.size is not None and self._record.get("fixed_input_size"):
            options.setdefault("img_size", self.params.size)
        return options

    def random_network(self, outputs: int) -> nn.Module:
        """Build timm's network, with weights that it draws."""
        import timm

        return timm.create_model(self.params.name, pretrained=False, num_classes=outputs, **self._options())

    def library_network(self, weights: str, outputs: int) -> tuple[nn.Module, bool]:
        """Load the weights of a package, or timm's from the cache of its downloads; other outputs stay random."""
        import timm

        name = self.params.name
        if weights == PACKAGE:
            return self._packaged(outputs)
        if weights not in USUAL:
            raise ModelError(
                f"weights {weights!r} of {name} are unknown: timm names weights by a tag of the network's name; set "
                "weights to pretrained, to package, or to the path of a checkpoint, with a suffix or a slash."
            )
        path = self._cached()
        if path is None:
            raise ModelError(
                f"timm's weights of {name} are not on this computer, and heatproof downloads none; load them once where"
                f" there is a network, by timm.create_model({name!r}, pretrained=True), or set weights to the path of a"
                " checkpoint."
            )
        overlay = {"file": str(path)}
        try:
            network = timm.create_model(
                name, pretrained=True, num_classes=outputs, pretrained_cfg_overlay=overlay, **self._options()
            )
        except Exception as error:  # readers of a damaged file raise any error
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(f"timm's weights of {name} in {path} cannot be loaded ({reason}).") from error
        return network, outputs == self._record.get("num_classes")

    def _packaged(self, outputs: int) -> tuple[nn.Module, bool]:
        """The network with the weights of its package, and whether it has their number of outputs."""
        import timm

        package = packaged(self.params.name)
        network: Any = timm.create_model(self.params.name, pretrained=False, **self._options())
        try:
            network.load_state_dict(package.state(network))
        except RuntimeError as error:
            raise ModelError(
                f"the weights in {package.path()} do not fit {self.params.name} with options "
                f"{dict(self.params.options)}; leave out the options that change its shape."
            ) from error
        if outputs != network.num_classes:
            network.reset_classifier(outputs)
        return network, outputs == self._record.get("num_classes")

    def _cached(self) -> Path | None:
        """The file of the weights in the caches of the hub and of torch; None if it was never loaded."""
        from huggingface_hub import try_to_load_from_cache

        repository = self._record.get("hf_hub_id")
        names = (self._record.get("hf_hub_filename"), *FILES)
        paths: list[Any] = [try_to_load_from_cache(repository, name) for name in names if repository and name]
        if "url" in self._record:
            paths.append(Path(torch.hub.get_dir(), "checkpoints", self._record["url"].rpartition("/")[2]))
        files = [Path(path) for path in paths if isinstance(path, (str, Path)) and Path(path).is_file()]
        return next(iter(files), None)

    def translations(self, network: nn.Module) -> Translations:
        """Return the names of efficientnet_pytorch for an EfficientNet."""
        translate = of_efficientnet_pytorch(network)
        if translate is None:
            return {}
        return {"efficientnet_pytorch": translate}
