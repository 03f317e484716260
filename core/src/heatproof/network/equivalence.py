"""Compares a rewritten network with the original on a random image, and names the first node that differs."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from ..errors import ModelError
from .graph import arguments
from .tracing import named_outputs, tidied, traced

if TYPE_CHECKING:
    from .views import View

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
"""The largest difference of outputs relative to the largest value, by dtype."""


@dataclass(frozen=True)
class Trial:
    """A random image beside another one, and the outputs that a network gives for the two.

    ``network`` is the ``origin`` in the dtype of the images. ``inputs`` are those of one image. There is one image only
    if the network takes no two.
    """

    origin: nn.Module
    network: nn.Module
    names: tuple[str, ...]
    images: Tensor
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Tensor]

    @classmethod
    @torch.no_grad()
    def of(cls, network: nn.Module, names: tuple[str, ...], images: Tensor, inputs: Mapping[str, Any]) -> "Trial":
        """A trial with images and inputs like these; raises what the network raises for each of them.

        The images themselves are used where the network gives no finite outputs for random ones.
        """
        reference = converted(network, images.dtype)
        random = _random(images)
        real = torch.cat([images[:1], images[:1] / 2]).contiguous()
        failure: Exception | None = None
        finished: Trial | None = None
        for pair in (random, random[:1], real, real[:1]):
            trial = cls(network, reference, names, pair, _of_first(inputs, len(images)), {})
            try:
                finished = replace(trial, outputs=trial.run(reference, len(pair)))
            except Exception as error:
                failure = error
                continue
            if all(value.isfinite().all() for value in finished.outputs.values()):
                return finished
        if finished is None:
            assert failure is not None
            raise failure
        return finished

    def run(self, network: nn.Module, count: int) -> dict[str, Tensor]:
        """The tensors of real numbers among the outputs of a network for the first ``count`` images."""
        outputs = named_outputs(network(self.images[:count].clone(), **self.repeated(count)), self.names)
        return {name: value for name, value in outputs.items() if _is_real(value)}

    def repeated(self, count: int) -> dict[str, Any]:
        """The inputs of the first image, for ``count`` images."""
        return {name: _repeated(value, count) for name, value in self.inputs.items()}

    @torch.no_grad()
    def require_alone(self) -> None:
        """Raise ``ModelError`` if the network gives other outputs for an image alone, or in a second run."""
        alone = self.run(self.network, 1)
        differing = self.differing(alone)
        if not differing:
            return
        again = replace(self, images=self.images[:1], outputs=alone).differing(self.run(self.network, 1))
        if again:
            raise ModelError(
                f"the network is not deterministic: its output {again} differs between two runs on the same image; "
                "switch off dropout and other random steps in evaluation mode."
            )
        precise = self if self.images.dtype == torch.float64 else self.precise
        if precise.differing(precise.run(precise.network, 1)):
            raise ModelError(
                f"the network couples the images of a batch: its output {differing} for an image differs beside "
                f"another one{_first_coupling(self.network)}; give it running statistics, or normalise each image "
                "by itself."
            )

    @torch.no_grad()
    def refusal(self, view: "View") -> str:
        """Why a view is not the network: how it fails, or the output and the node that differ; empty if it agrees."""
        try:
            outputs = named_outputs(_run(fx.Interpreter(view.module), self.images[:1], self.inputs), self.names)
        except Exception as error:
            return f"its copy fails with {type(error).__name__}: {_first_line(error)}"
        differing = self.differing(outputs)
        if not differing:
            return ""
        return (
            f"the output {differing} of its copy differs{self._first_difference(view)}{_first_in_place(self.network)}"
        )

    def differing(self, outputs: Mapping[str, Any]) -> str:
        """The first output of one image that differs from the first image's, and by how much; empty if none does.

        Outputs without a row per image, and those that are not finite, are not compared.
        """
        for name, expected in self.outputs.items():
            actual = outputs[name]
            if len(expected) != len(self.images) * len(actual) or not expected.isfinite().all():
                continue
            gap = _gap(actual, expected[: len(actual)])
            if not gap <= TOLERANCE.get(self.images.dtype, 1e-2):
                return f"{name!r} (by {gap:.1e} of its largest value)"
        return ""

    @cached_property
    @torch.no_grad()
    def precise(self) -> "Trial":
        """The same trial in float64, where rounding is no reason for a difference."""
        network = converted(self.origin, torch.float64)
        floats = {name: value.double() for name, value in self.inputs.items() if _is_real(value)}
        precise = Trial(self.origin, network, self.names, self.images.double(), {**self.inputs, **floats}, {})
        return replace(precise, outputs=precise.run(network, len(self.images)))

    def _first_difference(self, view: "View") -> str:
        """A clause that names the first node with another value in the view than in the traced network."""
        image = self.images[:1]
        with tidied(self.network):
            expected = _values(fx.GraphModule(self.network, traced(self.network, view.omitted)), image, self.inputs)
        for name, value in _values(view.module, image, self.inputs).items():
            original = expected.get(view.merged.get(name, name))
            if original is not None and not _gap(value, original) <= TOLERANCE.get(self.images.dtype, 1e-2):
                return f"; the first node that differs is {name!r}"
        return "; no node differs, so tracing took another branch of the network's code"


def converted(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network itself if it has this dtype, otherwise a converted copy."""
    parameter = next(network.parameters(), None)
    if parameter is None or parameter.dtype == dtype:
        return network
    return copy.deepcopy(network).to(dtype)


def _random(images: Tensor) -> Tensor:
    """Two random images like these."""
    rng = torch.Generator().manual_seed(0)
    random = torch.randn((2, *images.shape[1:]), generator=rng, dtype=torch.float64)
    return random.to(images)


def _of_first(inputs: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The inputs of the first of ``size`` images."""
    return {name: value[:1] if _has_rows(value, size) else value for name, value in inputs.items()}


def _repeated(value: Any, count: int) -> Any:
    """An input of one image for ``count`` images."""
    return torch.cat([value] * count) if _has_rows(value, 1) else value


def _has_rows(value: Any, size: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == size


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0


def _gap(actual: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest expected value."""
    if not expected.numel():
        return 0.0
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((actual - expected).abs().max() / scale)


def _values(module: fx.GraphModule, images: Tensor, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The floating-point tensors that nodes compute, by node name."""
    interpreter = _Copies(module)
    _run(interpreter, images.clone(), inputs)
    return interpreter.copies


def _run(interpreter: fx.Interpreter, images: Tensor, inputs: Mapping[str, Any]) -> Any:
    """The result of a graph, without the report that fx prints of a failure."""
    interpreter.extra_traceback = False
    return interpreter.run(*arguments(interpreter.graph, images, inputs))


class _Copies(fx.Interpreter):
    """Runs a graph once and copies every value, since in-place operations overwrite earlier values."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self.copies: dict[str, Tensor] = {}

    def run_node(self, node: fx.Node) -> Any:
        """Run a node and copy its value."""
        value = super().run_node(node)
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            self.copies[node.name] = value.clone()
        return value


def _first_in_place(network: nn.Module) -> str:
    names = (name for name, module in network.named_modules() if getattr(module, "inplace", False))
    return next((f"; the first layer that works in place is {name!r}" for name in names), "")


def _first_coupling(network: nn.Module) -> str:
    """A clause that names the first normalisation by the statistics of the batch."""
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            return f", as {name!r} normalises by the statistics of the batch"
    return ""


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "without a message")
