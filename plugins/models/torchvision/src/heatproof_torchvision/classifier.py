"""Classifiers of torchvision by name."""

import re
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from heatproof.errors import ModelError, near
from heatproof_checkpoints.checkpoint import Translations, load_weights
from heatproof_classifiers.classifier import Classifier
from heatproof_classifiers.record import Record, unique

USUAL = ("pretrained", "DEFAULT")
"""The names of the weights that torchvision recommends."""
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)")
"""Names of tensors in the files of torchvision's DenseNets, from before a module's name could hold no dot."""
COLOUR_OPTION = "transform_input"
"""Whether Inception and GoogLeNet change the normalisation of images themselves, which no checkpoint says."""
NORMALISING = ("googlenet", "inception_v3")
SIDES = {"vit_": "image_size", "maxvit": "input_size"}
"""Networks that take images of one size, and the option that is this size."""


class Torchvision(Classifier):
    """A classifier of ``torchvision.models``, such as ``resnet18`` or ``efficientnet_b0``.

    Images are prepared as the usual weights of the network are evaluated: resized, cropped and normalised, on Pillow's
    image of 8 bits, pixel by pixel as torchvision's transform does. With ``size``, the resize before the crop keeps its
    ratio to it.
    """

    library = "torchvision"

    def record(self) -> Record:
        """Look up the classes and the transform of the network's weights."""
        from torchvision import models

        name = self.params.name
        known = models.list_models(module=models)
        if name not in known:
            raise ModelError(f"torchvision has no classifier {name!r}; {_otherwise(name)}{near(name.lower(), known)}")
        weights = self._member(self.params.weights)
        return Record(unique(weights.meta["categories"]), self._transform(weights.transforms()))

    def _member(self, name: Any) -> Any:
        """The member of torchvision's weights with a name; the usual one for a path, none, or ``pretrained``."""
        from torchvision.models import get_model_weights

        weights = get_model_weights(self.params.name)
        if name in (None, *USUAL) or isinstance(name, Path):
            return weights["DEFAULT"]
        # The weights of features alone, for other tasks, have no classes.
        members = {member.name: member for member in weights if member.meta["categories"]}
        if name not in members:
            raise ModelError(
                f"torchvision has no weights {name!r} of the classifier {self.params.name} (the path of a checkpoint "
                f"has a suffix or a slash); {near(name, [*members, *USUAL])}"
            )
        return members[name]

    def _transform(self, preset: Any) -> Any:
        """The transform of evaluation, with the settings that replace torchvision's."""
        from torchvision import transforms

        params = self.params
        (crop,) = preset.crop_size
        size = params.size or crop
        mean = list(params.mean or preset.mean)
        std = list(params.std or preset.std)
        if params.fit == "stretch":
            resize = transforms.Resize((size, size), preset.interpolation)
            return transforms.Compose([resize, transforms.ToTensor(), transforms.Normalize(mean, std)])
        (resized,) = preset.resize_size
        return type(preset)(
            crop_size=size, resize_size=round(resized * size / crop), mean=mean, std=std,
            interpolation=preset.interpolation, antialias=preset.antialias,
        )  # fmt: skip

    def random_network(self, outputs: int) -> nn.Module:
        """Build torchvision's network, with weights that it draws."""
        from torchvision.models import get_model_builder

        builder = get_model_builder(self.params.name)
        return cast(nn.Module, builder(weights=None, num_classes=outputs, **self._options()))

    def _options(self) -> dict[str, Any]:
        """The options, with the size of a network that takes images of one size only."""
        options: dict[str, Any] = dict(self.params.options)
        if self.params.name in NORMALISING:
            options.setdefault("init_weights", True)
        sides = [name for prefix, name in SIDES.items() if self.params.name.startswith(prefix)]
        for name in sides:
            (crop,) = self._member(self.params.weights).transforms().crop_size
            size = self.params.size or crop
            options.setdefault(name, {"image_size": size, "input_size": (size, size)}[name])
        return options

    def library_network(self, weights: str, outputs: int) -> tuple[nn.Module, bool]:
        """Load torchvision's weights from the cache of ``torch.hub``; another number of outputs stays random."""
        member = self._member(weights)
        path = Path(torch.hub.get_dir(), "checkpoints", member.url.rpartition("/")[2])
        if not path.is_file():
            raise ModelError(
                f"torchvision's weights {member} are not on this computer, and heatproof downloads none; download "
                f"{member.url} and save it as {path}, or set weights to the path of a checkpoint."
            )
        network = self.random_network(outputs)
        trained = self.random_network(len(member.meta["categories"]))
        for module in (network, trained):
            if hasattr(module, COLOUR_OPTION):
                setattr(module, COLOUR_OPTION, self.params.options.get(COLOUR_OPTION, True))
        load_weights(trained, path, self.translations(trained))
        if outputs == len(member.meta["categories"]):
            return trained, True
        state = network.state_dict()
        body = {name: value for name, value in trained.state_dict().items() if value.shape == state[name].shape}
        network.load_state_dict({**state, **body})
        return network, False

    def require_for_checkpoint(self) -> None:
        """Raise ``ModelError`` where the network may normalise images itself, and no setting says whether."""
        if self.params.name in NORMALISING and COLOUR_OPTION not in self.params.options:
            raise ModelError(
                f"{self.params.name} may normalise images itself, which a checkpoint does not tell; set options: "
                f"{{{COLOUR_OPTION}: true}} if it was built with torchvision's weights before its training, else false."
            )

    def translations(self, network: nn.Module) -> Translations:
        """Return the names in old files of torchvision."""
        return {"older DenseNets of torchvision": lambda name: OLD_DENSENET.sub(r"\1\2", name)}


def _otherwise(name: str) -> str:
    """Say what a network that is no classifier of images is for, such as segmentation."""
    from torchvision import models

    if name not in models.list_models():
        return ""
    task = models.get_model_builder(name).__module__.split(".")[2].replace("_", " ")
    return f"it has a network of this name for {task}, whose outputs are no classes of an image; "
