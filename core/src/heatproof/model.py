"""Models: a network with the preparation, classes and reading of outputs that its authors meant."""

import copy
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .component import Component, P
from .digests import digest
from .errors import ModelError, near
from .imaging.transforms import Preparation
from .network.layers import Outline, outline
from .network.tracing import named_outputs
from .network.views import Opaque, View, view
from .records import Array, Prediction, Sample
from .seeding import key

Head = Literal["softmax", "sigmoid", "ordinal", "regression"]
DERIVED = ("network", "outline", "capabilities", "_views", "_randomized")
"""What a model keeps of its network."""


class Model(Component[P]):
    """A network and what belongs to it. A subclass must implement ``build``; the rest has defaults.

    ``classes``, ``head`` and the like are class attributes, set in ``__init__``, or properties.
    """

    _origin: "Model | None" = None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """What the logits of a softmax or sigmoid head stand for, or the grades of an ordinal or regression head."""
        return ()

    @cached_property
    def head(self) -> Head:
        """How logits are read."""
        return "softmax"

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the network returns, in order."""
        return ("logits",)

    @cached_property
    def extras(self) -> tuple[str, ...]:
        """Names in ``Sample.extras`` that ``collate`` reads."""
        return ()

    @cached_property
    def preparation(self) -> Preparation | None:
        """What puts image, annotations and field on the model's grid; nothing is resampled later."""
        return None

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with its weights: images (n, c, *space) → logits (n, class), or a dictionary of outputs."""
        raise NotImplementedError

    @cached_property
    def network(self) -> nn.Module:
        """The network as built, in evaluation mode."""
        return self.build().eval()

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What explainers may require: ``gradients``, and ``layers`` when its convolutions can be observed."""
        return frozenset({"gradients", "layers"} if self.layers() else {"gradients"})

    def layers(self) -> tuple[str, ...]:
        """The convolutions by their original module names, in order of evaluation.

        A name stands for the tensor after the chain convolution → BatchNorm → activation.
        """
        return self.outline.convolutions

    @cached_property
    def outline(self) -> Outline:
        """The network's convolutions and activations, or why it cannot be traced."""
        return outline(self.network)

    @property
    def last_layer(self) -> str:
        """The backbone's last convolution."""
        return self.layers()[-1]

    def layer(self, name: str) -> str:
        """A layer by name, or ``last``; raises ``ModelError`` with near names, or saying why there is none."""
        if not self.layers():
            why = f"it cannot be traced ({self.outline.reason})" if self.outline.reason else "it has no convolution"
            raise ModelError(f"no layer of {self.short} can be observed: {why}.")
        if name == "last":
            return self.last_layer
        if name not in self.layers():
            raise ModelError(f"{self.short} has no layer {name!r}; {near(name, [*self.layers(), 'last'])}")
        return name

    @property
    def grid(self) -> str:
        """What its prepared samples depend on; models of one grid share baselines."""
        return self.preparation.identity if self.preparation else self.identity

    def prepare(self, sample: Sample) -> Sample:
        """The sample on the model's grid: float32 image, annotations by area."""
        if self.preparation is None:
            raise ModelError(f"{self.short} has no preparation; set one, or implement prepare(sample).")
        return self.preparation(sample)

    def collate(self, samples: Sequence[Sample]) -> dict[str, Any]:
        """Further inputs of ``forward`` made from prepared samples, besides the images."""
        return {}

    def forward(self, images: Tensor, **inputs: Any) -> dict[str, Tensor]:
        """The outputs by name, through the network itself."""
        return named_outputs(self.network(images, **inputs), self.outputs)

    def view(self, images: Tensor, inputs: Mapping[str, Any], folded: bool = True) -> View | Opaque:
        """The view of the network for images of this shape, dtype and device; built anew when its weights changed."""
        views: dict[Any, tuple[Any, View | Opaque]] = self.__dict__.setdefault("_views", {})
        key = (folded, images.dtype, images.device, tuple(images.shape[1:]))
        if any(tensor.device != images.device for tensor in tensors(self.network)):
            self.network.to(images.device)
        weights = self._weights() if folded else None
        if key not in views or views[key][0] != weights:
            made = view(self.network, self.outputs, images, inputs, folded)
            if self._origin is not None:
                share(made.module, self._origin.view(images, inputs, folded).module)
            views[key] = weights, made
        return views[key][1]

    def _weights(self) -> list[tuple[int, int]]:
        """Where every parameter and buffer lies and how often it was written, which tells a changed network."""
        return [(tensor.data_ptr(), tensor._version) for tensor in tensors(self.network)]

    def forget(self) -> None:
        """Drop the network and what was made of it, as does a model that it shares weights with."""
        for name in DERIVED:
            self.__dict__.pop(name, None)
        if self._origin is not None:
            self._origin.forget()

    def randomized(self, modules: Sequence[str], seed: int) -> "Model":
        """This model with the weights of these modules drawn anew, by ``seed`` and their names; made once.

        All other weights lie in the same memory as this model's, which stays as it is.
        """
        made: dict[Any, tuple[Any, Model]] = self.__dict__.setdefault("_randomized", {})
        drawn, weights = (tuple(modules), seed), self._weights()
        if drawn not in made or made[drawn][0] != weights:
            made[drawn] = weights, self._with_network(redrawn(self.network, modules, seed), ["randomized", *drawn])
        return made[drawn][1]

    def _with_network(self, network: nn.Module, reason: list[Any]) -> "Model":
        """This model with another network, under an identity of its own."""
        made = type(self).__new__(type(self))
        made.__dict__ |= {name: value for name, value in vars(self).items() if name not in DERIVED}
        made.__dict__ |= {"network": network, "_origin": self, "_identity": digest([self.identity, reason])}
        return made

    def spatial(self, layer: str, values: Tensor) -> Tensor:
        """Activations or gradients of a layer as (n, channel, *space)."""
        return values

    def target(self, target: str | int) -> int:
        """A target by class name or index as an index of the logits; raises ``ModelError`` outside the classes."""
        if isinstance(target, str) and target in self.classes:
            target = self.classes.index(target)
        if isinstance(target, str) or not 0 <= target < len(self.classes):
            raise ModelError(
                f"{self.short} has no class {target!r}; {near(str(target), self.classes)}, an index below "
                f"{len(self.classes)}, 'predicted' or 'label'"
            )
        return target

    def read(self, logits: Array) -> Prediction:
        """Logits (class,) as probabilities and a decision, by the model's head."""
        probabilities, decision = READERS[self.head](np.asarray(logits, dtype=np.float64), len(self.classes))
        return Prediction(np.asarray(logits), self.classes, probabilities, decision)


def tensors(network: nn.Module) -> list[Tensor]:
    """The parameters and buffers of a network, shared ones as often as they are used.

    ``network.parameters()`` gives each once and tells its name, which takes several times as long.
    """
    return [
        tensor
        for module in network.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]


def redrawn(network: nn.Module, modules: Sequence[str], seed: int) -> nn.Module:
    """A copy whose ``modules`` have new weights, as their own ``reset_parameters`` draws them.

    Parameters of a module without it get normal values with their own mean and standard deviation.
    """
    made = copy.deepcopy(network)
    for name in modules:
        # On the processor, whose generator draws the same on every machine.
        fresh: Any = copy.deepcopy(made.get_submodule(name)).cpu()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(key(seed, "randomized", name) % 2**63)
            if hasattr(fresh, "reset_parameters"):
                fresh.reset_parameters()
            else:
                for parameter in fresh.parameters(recurse=False):
                    parameter.normal_(float(parameter.mean()), float(parameter.std(correction=0)))
        made.get_submodule(name).load_state_dict(fresh.state_dict())
    share(made, network)
    return made


def share(module: nn.Module, other: nn.Module) -> None:
    """Put the tensors that equal those of the same name in another module into the memory of these."""
    known = dict([*other.named_parameters(), *other.named_buffers()])
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name in known and torch.equal(tensor, known[name]):
            tensor.data = known[name].data


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
    """One linear unit on the scale of the grades; the grade is the nearest one."""
    return logits[:1], int(np.clip(np.floor(logits[0] + 0.5), 0, classes - 1))


def _logistic(values: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)))


READERS = {"softmax": _softmax, "sigmoid": _sigmoid, "ordinal": _ordinal, "regression": _regression}


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load a checkpoint (safetensors, or a plain state dictionary of torch) into ``network``; no code is executed.

    Raises ``ModelError`` when the file is no checkpoint, holds anything but tensors, or has other keys or shapes.
    """
    state = read_weights(path)
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        raise ModelError(
            f"checkpoint {path} does not fit the network: {len(missing)} keys missing{_example(missing)}, "
            f"{len(unknown)} unknown{_example(unknown)}; give a checkpoint of this architecture."
        )
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise ModelError(
                f"checkpoint {path} does not fit the network: {name!r} has shape {tuple(state[name].shape)}, "
                f"the network needs {tuple(value.shape)}; give a checkpoint of this architecture."
            )
    network.load_state_dict(state)
    return network


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, read by safetensors or torch's weights-only loader."""
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist; give the path of a .safetensors or .pt file.")
    try:
        state = _safetensors(path) if path.suffix == ".safetensors" else _state_dictionary(path)
    except Exception as error:  # any file may be given, and read as a pickle it may raise anything
        raise ModelError(
            f"{path} is not a checkpoint that can be loaded safely ({_first_line(error)}); give a safetensors file, or "
            "a state dictionary saved by torch that holds tensors only."
        ) from error
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no state dictionary of tensors; save model.state_dict() and give that file.")
    return state


def _safetensors(path: Path) -> dict[str, Tensor]:
    return dict(load_file(path))


def _state_dictionary(path: Path) -> dict[str, Tensor]:
    """A state dictionary, also one wrapped as {"state_dict": …}."""
    with warnings.catch_warnings():
        # What torch has to say of a pickle's protocol helps nobody who gave the wrong file.
        warnings.simplefilter("ignore")
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    return dict(loaded) if isinstance(loaded, Mapping) else {}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def _example(names: list[str]) -> str:
    return f" (such as {names[0]!r})" if names else ""
