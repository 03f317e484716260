"""Models: a network with the preparation, the classes and the reading of its outputs that its authors meant."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self, final

import numpy as np
import torch
from torch import Tensor, nn

from .component import Component, P, Params
from .containment import contained
from .digests import digest
from .errors import HeatproofError, ModelError, near
from .imaging.transforms import Preparation
from .network.examples import examples
from .network.layers import Outline, observed, outline
from .network.opaque import Opaque
from .network.tracing import explained, named_outputs
from .network.views import View, view
from .network.weights import share, structure_digest, tensors, unwrapped, weights_digest
from .notices import heard
from .records import Array, Prediction, Sample
from .records import Head as Head

Precision = Literal["float32", "float64"]
"""The type of weights and images in all passes."""
DERIVED = ("network", "outline", "capabilities", "weights_digest", "_views", "_variants")
"""Attributes of a model that are computed from its network."""

SIGMOID_OF_TWO = 2
"""The revision of ``scores`` and ``probabilities``; part of the identity of the models whose scores it changes."""


class Model(Component[P]):
    """A network with everything needed to use it. A subclass must implement ``build``; everything else has a default.

    A subclass replaces ``classes``, ``head`` and the like by class attributes, in ``__init__``, or by properties.
    """

    _origin: "Model | None" = None
    precision: Precision = "float32"
    """The type of weights and images; a run sets it on a copy (``in_precision``), whose identity contains it."""

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of a softmax or sigmoid head, one per logit, or the grades of an ordinal or regression head."""
        return ()

    @cached_property
    def head(self) -> Head:
        """How logits become probabilities and a decision."""
        return "softmax"

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of the network's outputs, in order."""
        return ("logits",)

    @property
    def explained(self) -> str:
        """The name of the output that is explained: ``logits`` if the network has it, else the first."""
        return explained(self.outputs)

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """Names in ``Sample.extras`` that ``collate`` reads."""
        return ()

    @cached_property
    def preparation(self) -> Preparation | None:
        """Puts image, annotations and field on the model's grid; nothing is resampled later."""
        return None

    @staticmethod
    def of(
        network: nn.Module,
        classes: Iterable[str],
        preparation: Preparation | None = None,
        head: Head = "softmax",
        outputs: Sequence[str] = ("logits",),
    ) -> "NetworkModel":
        """A model of an existing network, which is not copied; worker processes can use it if it can be pickled.

        The identity depends on all arguments, and on structure, code and weights of the network when a run is planned.
        """
        return NetworkModel(
            network=network, classes=tuple(classes), preparation=preparation, head=head, outputs=tuple(outputs)
        )

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with its weights: images (n, c, *space) → logits (n, class), or a dictionary of outputs."""
        raise NotImplementedError

    @final
    @cached_property
    def network(self) -> nn.Module:
        """The result of ``build``, in evaluation mode; raises ``ModelError`` if it is not the one of the identity.

        Wrappers for several devices and for compilation are taken off.
        """
        with contained(self.short), heard(self._remember):
            network = unwrapped(self.build()).eval()
            if self.precision == "float64":
                # The network may belong to somebody, such as that of ``Model.of``.
                network = copy.deepcopy(network).double()
        planned = self.__dict__.get("network_digest")
        if planned is not None:
            self.__dict__["weights_digest"] = weights_digest(network)
            if digest([structure_digest(network), self.weights_digest]) != planned:
                raise ModelError(
                    f"{self.short}.build() returns another network than for the plan: other weights, settings or code; "
                    "load them from a checkpoint, or seed them, so that every call and every process gets the same."
                )
        return network

    @final
    def in_precision(self, precision: Precision) -> Self:
        """This model, or a copy of it whose weights and images have another type."""
        if precision == self.precision:
            return self
        other = self.with_()
        other.precision = precision
        return other

    @final
    @property
    def dtype(self) -> torch.dtype:
        """The type of the images in a batch."""
        return {"float32": torch.float32, "float64": torch.float64}[self.precision]

    @final
    @property
    def built(self) -> bool:
        """Whether this object holds its network."""
        return "network" in vars(self)

    @final
    def require_built(self) -> None:
        """Build the network and its digest; raises ``ModelError`` if that is not possible."""
        try:
            _ = self.network, self.network_digest
        except HeatproofError:
            raise
        except Exception as error:
            raise ModelError(f"{self.short} cannot build its network ({type(error).__name__}: {error}).") from error

    @cached_property
    def weights_digest(self) -> str:
        """The digest of the network's parameters and buffers."""
        return weights_digest(self.network)

    @cached_property
    def network_digest(self) -> str:
        """The digest of the network's weights and structure as the identity contains it, until ``renew``."""
        return digest([structure_digest(self.network), self.weights_digest])

    def _parts(self) -> list[Any]:
        reading: list[Any] = [self.classes, self.head, self.outputs, self.preparation and self.preparation.identity]
        if self.head == "sigmoid" and len(self.classes) == 2:
            reading.append(SIGMOID_OF_TWO)
        return [*super()._parts(), self.network_digest, *reading]

    def renew(self) -> None:
        """Forget network and identity: the next ``build`` may return another network, or the same after training."""
        super().renew()
        self.forget()
        self.__dict__.pop("network_digest", None)
        if self.preparation is not None:
            self.preparation.renew()

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"network": self.network_digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__["network_digest"] = state["network"]

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What explainers may require: ``gradients``; ``layers`` if these can be observed, and ``self_attention``."""
        capabilities = {"gradients"}
        if self.layers() or self.outline.last or (self.outline.reason and self.outline.layers):
            capabilities.add("layers")
        if any(self.outline.attentions.values()):
            capabilities.add("self_attention")
        return frozenset(capabilities)

    def layers(self) -> tuple[str, ...]:
        """The layers of ``layer: all``, in order of evaluation: convolutions on a grid over the image, and blocks.

        A block is the module around one attention that adds its result to the tokens. Gates are left out.
        A subclass may name any module by its path in the network; ``name__2`` is the module's second call. The name of
        a convolution stands for the output of the chain convolution → normalisation → activation; in a network that
        cannot be traced, for the convolution's own output.
        """
        return self.outline.grids

    @final
    @cached_property
    def outline(self) -> Outline:
        """The network's layers and activations, or the reason why no copy of it can be rewritten."""
        extended = type(self).collate is not Model.collate
        result = outline(self.network, self.outputs, () if extended else self._examples(), extended)
        if result.example is None or result.reason:
            return result
        refusal = self.view(result.example, {}).reason
        return observed(self.network, self.outputs, [result.example], refusal) if refusal else result

    def _examples(self) -> Iterator[Tensor]:
        """Random images (1, c, *space) that the network may take."""
        params = self.preparation and self.preparation.params
        return examples(self.network, getattr(params, "width", None), self.size)

    @cached_property
    def size(self) -> int | tuple[int, ...] | None:
        """The size of prepared images, one number or one per axis, by default that of the preparation.

        Where it is unknown, shapes in a network are learnt with images of usual sizes.
        """
        size: int | tuple[int, ...] | None = getattr(self.preparation and self.preparation.params, "size", None)
        return size

    @property
    def last_layer(self) -> str:
        """The layer whose grid is pooled on the way to the explained output; raises ``ModelError`` if there is none.

        Sums, concatenations, normalisations and activations before the pooling are part of it. Where the output reads
        a class token only, it is the input of the last attention, behind which no other token matters. Where a subclass
        names the layers, it is the last of them.
        """
        if type(self).layers is not Model.layers:
            return self.layers()[-1]
        if not self.outline.last:
            raise ModelError(f"{self.short} has no last layer: {self.outline.unpooled}; name a layer.")
        return self.outline.last

    def layer(self, name: str) -> str:
        """The full name of a layer given by name or as ``last``; raises ``ModelError`` if it cannot be observed."""
        if not self.outline.layers:
            raise ModelError(f"no layer of {self.short} can be observed: {self.outline.reason or 'it has none'}.")
        name = self.last_layer if name == "last" else name
        self.require_layers([name])
        return name

    @final
    def require_layers(self, names: Sequence[str]) -> None:
        """Raise ``ModelError`` unless each name is a module of the network with an observable output."""
        for name in names:
            if name not in self.outline.layers:
                raise ModelError(f"{self.short} has no layer {name!r}; {near(name, {*self.outline.layers, 'last'})}")

    @final
    def require_explaining(self, names: Sequence[str]) -> None:
        """Raise ``ModelError`` for a layer that the explained output does not depend on, such as one of a decoder."""
        for name in names:
            if name in self.outline.aside:
                raise ModelError(
                    f"the output {self.explained!r} of {self.short} does not depend on the layer {name!r}; name a "
                    "layer between the image and that output."
                )

    @property
    def grid(self) -> str:
        """The identity of the preparation and the precision: models with the same grid share baselines."""
        if self.preparation is None or type(self).prepare is not Model.prepare:
            return self.identity
        if self.precision == "float32":
            return self.preparation.identity
        return digest([self.preparation.identity, self.precision])

    def prepare(self, sample: Sample) -> Sample:
        """The sample on the model's grid: float32 image, annotations as shares of each pixel's area."""
        if self.preparation is None:
            raise ModelError(f"{self.short} has no preparation; set one, or implement prepare(sample).")
        return self.preparation(sample)

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """The network's inputs besides the images, from prepared samples: keyword arguments of its ``forward``."""
        return {}

    @final
    def forward(self, images: Tensor, **inputs: Any) -> dict[str, Tensor]:
        """The network's outputs by name; to change what is computed, change ``build``."""
        return named_outputs(self.network(images, **inputs), self.outputs)

    def view(self, images: Tensor, inputs: Mapping[str, Any], folded: bool = True) -> View | Opaque:
        """The view of the network for images of this shape, dtype and device; built again if the weights changed."""
        views: dict[Any, tuple[Any, View | Opaque]] = self.__dict__.setdefault("_views", {})
        key = (folded, images.dtype, images.device, tuple(images.shape[1:]), frozenset(inputs))
        if any(tensor.device != images.device for tensor in tensors(self.network)):
            self.network.to(images.device)
        weights = self._weights() if folded else None
        if key not in views or views[key][0] != weights:
            built = view(self.network, self.outputs, images, inputs, folded)
            if built.notice:
                self._remember(f"{self.short} {built.notice}")
            if self._origin is not None:
                share(built.module, self._origin.view(images, inputs, folded).module)
            views[key] = weights, built
        return views[key][1]

    def _weights(self) -> list[tuple[int, int]]:
        """The address and the version of every parameter and buffer; they change when the weights are written."""
        return [(tensor.data_ptr(), tensor._version) for tensor in tensors(self.network)]

    def views(self) -> list[View | Opaque]:
        """The views that were built."""
        return [view for _, view in self.__dict__.get("_views", {}).values()]

    def notices(self) -> list[str]:
        """What a user should know of the network and the views that were built, also of those dropped since."""
        return list(self.__dict__.get("_notices", ()))

    def _remember(self, notice: str) -> None:
        """Keep a notice; in the order of the first times."""
        self.__dict__.setdefault("_notices", {})[notice] = True

    def forget(self) -> None:
        """Drop the network and everything computed from it, also in the model that this is a variant of."""
        for name in DERIVED:
            self.__dict__.pop(name, None)
        if self._origin is not None:
            self._origin.forget()

    def variant(self, name: Sequence[Any], change: Callable[[nn.Module], nn.Module]) -> "Model":
        """This model with another network: ``change`` returns a changed copy of it; built once per ``name``.

        ``name`` must fit into JSON and determines the identity. Equal weights share memory with this model's.
        """
        variants: dict[str, tuple[Any, Model]] = self.__dict__.setdefault("_variants", {})
        identity = digest([self.identity, name])
        weights = self._weights()
        if identity not in variants or variants[identity][0] != weights:
            model = type(self).__new__(type(self))
            model.__dict__ |= {key: value for key, value in vars(self).items() if key not in DERIVED}
            model.__dict__ |= {"network": change(self.network), "_origin": self, "_identity": identity}
            model.__dict__.pop("network_digest", None)
            share(model.network, self.network)
            variants[identity] = weights, model
        return variants[identity][1]

    def spatial(self, layer: str, values: Tensor) -> Tensor:
        """Activations or gradients of a layer as (n, channel, *space).

        By default unchanged: values (n, *space, channel), and tokens of square patches in rows, become a grid later.
        """
        return values

    def target(self, target: str | int) -> int:
        """The index of a target given by class name or index; raises ``ModelError`` outside the classes.

        A number that is the name of another class than the one at this index is refused too.
        """
        if isinstance(target, str) and target in self.classes:
            return self.classes.index(target)
        if not isinstance(target, str) and is_other_name(target, self.classes):
            raise ModelError(
                f"the target {target} of {self.short} is an index and the name of another class; give the name as a "
                f"text, in quotes (classes by index: {', '.join(self.classes)})."
            )
        if isinstance(target, str) or not 0 <= target < len(self.classes):
            raise ModelError(
                f"{self.short} has no class {target!r}; give 'predicted', 'label', an index below {len(self.classes)} "
                f"or a class ({near(str(target), self.classes)})"
            )
        return target

    def read(self, logits: Array) -> Prediction:
        """Read logits (class,) as probabilities and a decision, by the model's head.

        Raises ``ModelError`` for one logit of more classes than its head can tell apart.
        """
        self._is_shared(len(logits))
        probabilities, decision = READERS[self.head](np.asarray(logits, dtype=np.float64), len(self.classes))
        return Prediction(np.asarray(logits), self.classes, probabilities, decision, self.head)

    @final
    def scores(self, logits: Tensor) -> Tensor:
        """The score of every class (n, class, …), from logits (n, logit, …).

        One sigmoid unit z for two classes is the score of the second, and -z that of the first. The unit of an ordinal
        or regression head is the score of all grades (n, 1, …). Raises ``ModelError`` for one logit of more classes.
        """
        if self._is_shared(logits.shape[1]):
            return torch.cat([-logits, logits], 1)
        return logits

    @final
    def probabilities(self, prediction: Prediction) -> Array:
        """The probability of every class (class,) in a prediction; one sigmoid unit of two classes gives 1 - p and p.

        The value of an ordinal or regression head is that of all grades (1,).
        """
        values = np.asarray(prediction.probabilities)
        if self._is_shared(len(prediction.logits)) and len(values) == 1:
            return np.array([1 - values[0], values[0]])
        return values

    def _is_shared(self, count: int) -> bool:
        """Whether ``count`` logits are one sigmoid unit that two classes share."""
        if count > 1 or len(self.classes) < 2 or self.head in ("ordinal", "regression"):
            return False
        if self.head != "sigmoid" or len(self.classes) > 2:
            raise ModelError(
                f"{self.short} gives one logit for {len(self.classes)} classes and has a {self.head} head; allowed: "
                "one logit per class, one for two classes with a sigmoid head, or one for ordinal or regression grades."
            )
        return True


class NetworkParams(Params):
    """An existing network, and the attributes of its model."""

    network: nn.Module
    classes: tuple[str, ...]
    preparation: Preparation | None = None
    head: Head = "softmax"
    outputs: tuple[str, ...] = ("logits",)


class NetworkModel(Model[NetworkParams]):
    """A model of an existing network, returned by ``Model.of``; tables show the network's class."""

    def __init__(self, **params: Any):
        super().__init__(**params)
        for name in ("classes", "preparation", "head", "outputs"):
            setattr(self, name, getattr(self.params, name))

    @property
    def short(self) -> str:
        """The name of its entry, or the class of the network."""
        return self.entry_name or type(self.params.network).__name__

    def build(self) -> nn.Module:
        """The network itself."""
        return self.params.network

    def describe(self) -> dict[str, Any]:
        """The settings; the network is described by its class and digest."""
        return super().describe() | {"network": f"{type(self.params.network).__name__} {self.network_digest}"}

    def changed_settings(self) -> dict[str, Any]:
        """None: the class of the network names it, and the identity tells networks of one class apart."""
        return {}

    def _identity_params(self) -> dict[str, Any]:
        return super()._identity_params() | {"network": type(self.params.network).__name__}


def is_other_name(index: int, classes: Sequence[str]) -> bool:
    """Whether a number is the name of another class than the one at this index, as 1 of the grades 1, 2 and 3."""
    numbers = {int(name): position for position, name in enumerate(classes) if name.isdecimal()}
    return numbers.get(index, index) != index


def _softmax(logits: Array, classes: int) -> tuple[Array, int]:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum(), int(logits.argmax())


def _sigmoid(logits: Array, classes: int) -> tuple[Array, int]:
    probabilities = _logistic(logits)
    return probabilities, int(logits.argmax() if logits.size > 1 else probabilities[0] > 0.5)


def _ordinal(logits: Array, classes: int) -> tuple[Array, int]:
    """One sigmoid unit s in (0, 1); the grade is floor((K - 1) s + 0.5)."""
    position = _logistic(logits[:1])
    return position, int(np.clip(np.floor((classes - 1) * position[0] + 0.5), 0, classes - 1))


def _regression(logits: Array, classes: int) -> tuple[Array, int]:
    """One linear unit on the scale of the grades; the decision is the nearest grade."""
    return logits[:1], int(np.clip(np.floor(logits[0] + 0.5), 0, classes - 1))


def _logistic(values: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))


READERS = {"softmax": _softmax, "sigmoid": _sigmoid, "ordinal": _ordinal, "regression": _regression}
