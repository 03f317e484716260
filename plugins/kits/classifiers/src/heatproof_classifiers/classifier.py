"""The base class of models that take a classifier from a library by name."""

import importlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat
from torch import nn

from heatproof.component import Location, Params, Seed
from heatproof.errors import ModelError
from heatproof.imaging.transforms import Preparation, Side
from heatproof.model import Model
from heatproof.records import Head
from heatproof_checkpoints.checkpoint import Translations, load_weights
from heatproof_checkpoints.initial import drawn, say_random
from heatproof_classifiers.record import Names, Record
from heatproof_transforms.conversion import preparation_of

COLOURS = 3
"""The channels of images, unless ``options`` say otherwise."""
RESERVED = frozenset((
    "cache_dir", "checkpoint_path", "features_only", "num_classes", "pretrained", "pretrained_cfg",
    "pretrained_cfg_overlay", "progress", "weights",
))  # fmt: skip
"""Arguments of a library's functions that are no ``options``: other settings decide them."""
HEADS: Mapping[str, Head] = {"softmax": "softmax", "sigmoid": "sigmoid", "binary": "sigmoid"}


class ClassifierParams(Params):
    """The network by ``name``, the ``classes`` of its outputs, its ``weights``, and how images are prepared for it.

    ``classes``: the names of the outputs in their order; without them, those that the library knows. ``weights``: the
    path of a checkpoint; a name of the library's weights, or ``pretrained`` for its usual ones, read from its cache
    and never downloaded; ``package`` for those that an installed package carries; without it, all weights are random
    by ``seed``. ``head``: ``softmax``; ``sigmoid``, one per
    class; or ``binary``, one sigmoid output that two classes share, which is that of the second.

    Size, interpolation, crop and normalisation are those of the library's record, unless these are set: ``size``, the
    side of the prepared image in pixels; ``fit: stretch`` resizes the whole image to it, ``crop`` as the record has it;
    ``mean`` and ``std`` of each channel, where white is 1. ``options`` are further arguments of the library's function.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)]
    classes: Names | None = None
    weights: Annotated[
        Annotated[str, Field(pattern=r"^(pretrained|package|[A-Z][A-Z0-9_]*)$")] | Location | None,
        Field(union_mode="left_to_right"),
    ] = None
    head: Literal["softmax", "sigmoid", "binary"] = "softmax"
    size: Side | None = None
    fit: Literal["crop", "stretch"] = "crop"
    mean: tuple[float, ...] | None = None
    std: tuple[PositiveFloat, ...] | None = None
    options: Mapping[str, bool | int | float | str] = {}
    seed: Seed = 0


class Classifier(Model[ClassifierParams]):
    """A classifier of a library: its network with as many outputs as classes.

    A subclass sets ``library`` and implements ``record``, ``random_network`` and ``library_network``.
    """

    library: ClassVar[str]
    """The name of the library, as it is imported and installed."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        self._require_settings()
        record = self.record()
        self.classes = self.params.classes or record.classes
        self.head = HEADS[self.params.head]
        self._require_classes()
        self.preparation = self._prepared_by(record.transform)

    @abstractmethod
    def record(self) -> Record:
        """Look up the network's name in the library; raises ``ModelError`` for an unknown one."""
        raise NotImplementedError

    @abstractmethod
    def random_network(self, outputs: int) -> nn.Module:
        """Build the network with random weights, drawn from torch's generator."""
        raise NotImplementedError

    @abstractmethod
    def library_network(self, weights: str, outputs: int) -> tuple[nn.Module, bool]:
        """Build the network with weights of the library from its cache, and tell whether its head is theirs.

        Raises ``ModelError`` where the library has no such weights, or they are not in its cache.
        """
        raise NotImplementedError

    def require_for_checkpoint(self) -> None:
        """Raise ``ModelError`` for settings that a checkpoint does not tell; by default there are none."""

    def translations(self, network: nn.Module) -> Translations:
        """Return other names of the network's tensors, by the library that gives them."""
        return {}

    @property
    def outputs_of_network(self) -> int:
        """The number of logits."""
        if self.params.head == "binary":
            return 1
        return len(self.classes)

    @property
    def channels(self) -> int:
        """The channels of the network's images."""
        return COLOURS

    def build(self) -> nn.Module:
        """Images (n, c, h, w) → logits (n, class); raises ``ModelError`` where the weights cannot be loaded."""
        weights = self.params.weights
        if isinstance(weights, Path):
            self.require_for_checkpoint()
            network: nn.Module = self._drawn(lambda: self.random_network(self.outputs_of_network))
            return load_weights(network, weights, self.translations(network), classes=self.classes)
        if weights is None:
            say_random(self.short, self.params.seed)
            network = self._drawn(lambda: self.random_network(self.outputs_of_network))
            return network
        network, whole = self._drawn(lambda: self.library_network(weights, self.outputs_of_network))
        if not whole:
            say_random(self.short, self.params.seed, f"the weights of its {self.outputs_of_network} outputs are random")
        return network

    def _drawn(self, build: Callable[[], Any]) -> Any:
        """The result of ``build`` with random numbers of the seed; torch's generator is as before."""
        try:
            return drawn(build, self.params.seed)
        except (TypeError, ValueError, AssertionError, RuntimeError, AttributeError, KeyError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(
                f"{self.library} cannot build {self.params.name} with options {dict(self.params.options)} ({reason})."
            ) from error

    def _require_settings(self) -> None:
        """Raise ``ModelError`` where the library is missing, and for options that other settings decide."""
        try:
            importlib.import_module(self.library)
        except ModuleNotFoundError as error:
            raise ModelError(f"{error.name} is not installed; install it with `pip install {self.library}`.") from error
        reserved = sorted(RESERVED.intersection(self.params.options))
        if reserved:
            raise ModelError(f"options cannot hold {reserved[0]!r}; set classes and weights of the model instead.")

    def _require_classes(self) -> None:
        """Raise ``ModelError`` for classes that do not fit the head."""
        name = self.params.name
        count = len(self.classes)
        if not count:
            raise ModelError(f"{self.library} names no classes of {name}; set classes to the names of its outputs.")
        if self.params.head == "binary" and count != 2:
            raise ModelError(f"{name} has {count} classes; with the head binary two share the output: name both.")
        if self.params.head != "binary" and count == 1:
            raise ModelError(
                f"{name} has one class, {self.classes[0]!r}; name two, with the head binary if it has a single output."
            )

    def _prepared_by(self, transform: Any) -> Preparation:
        """The preparation of a transform, with as many channels as the network takes."""
        preparation = preparation_of(transform)
        assert preparation is not None
        for step in preparation.params.steps:
            widths = {len(getattr(step, name, ())) for name in ("mean", "std")} - {0, 1, self.channels}
            if widths:
                raise ModelError(
                    f"{self.params.name} takes {self.channels} channels, but mean or std has {min(widths)} values; set "
                    "both, with one number for all channels or one per channel."
                )
        return preparation.with_(channels=self.channels)
