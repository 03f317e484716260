"""Skips the parts of a rule that read negative inputs, at layers without negative inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from zennit.core import BasicHook, Hook
from zennit.rules import AlphaBeta, ZPlus

POSITIVE_PARTS: Mapping[type[Hook], tuple[int, ...]] = {ZPlus: (0,), AlphaBeta: (0, 2)}
"""Rule → the indices of its parts that read positive inputs; the other parts read negative ones, without the bias."""


class Nothing:
    """A zero that costs no pass over memory when it is added or multiplied."""

    def __add__(self, other: Any) -> Any:
        return other

    def __mul__(self, other: Any) -> "Nothing":
        return self

    __radd__ = __add__
    __rmul__ = __mul__


NOTHING = Nothing()


def with_shortcut(rule: Hook) -> Hook:
    """Halve the cost of a rule at layers without negative inputs, where half of its parts is exactly zero."""
    if type(rule) not in POSITIVE_PARTS:
        return rule
    return Shortcut(rule, POSITIVE_PARTS[type(rule)])


class Shortcut(BasicHook):  # type: ignore[misc]
    """A rule of Zennit that runs only its positive parts when no input is negative, such as behind a ReLU."""

    PARTS = ("input_modifiers", "param_modifiers", "output_modifiers")

    def __init__(self, rule: BasicHook, positive: Sequence[int]):
        super().__init__(*(getattr(rule, name) for name in self.PARTS), rule.gradient_mapper, rule.reducer)
        self.positive = tuple(positive)

    def copy(self) -> "Shortcut":
        """The same rule for another layer."""
        return Shortcut(self, self.positive)

    def backward(self, module: nn.Module, grad_input: Any, grad_output: Any) -> Any:
        """The relevance of the input, from the parts that are not zero."""
        if not bool(self.stored_tensors["input"][0].amin() >= 0):
            return super().backward(module, grad_input, grad_output)
        full: dict[str, Any] = dict(vars(self))
        mapper = full["gradient_mapper"]
        reducer = full["reducer"]
        count = len(full["input_modifiers"])
        for name in self.PARTS:
            setattr(self, name, self._positive_of(full[name]))
        self.gradient_mapper = lambda relevance, outputs: self._positive_of(
            mapper(relevance, self._padded(outputs, count))
        )
        self.reducer = lambda inputs, gradients: reducer(self._padded(inputs, count), self._padded(gradients, count))
        try:
            return super().backward(module, grad_input, grad_output)
        finally:
            self.__dict__.update(full)

    def _padded(self, values: Sequence[Any], count: int) -> list[Any]:
        """One value for each of ``count`` parts: those of the positive parts, and ``NOTHING`` for the others."""
        by_part = dict(zip(self.positive, values))
        return [by_part.get(part, NOTHING) for part in range(count)]

    def _positive_of(self, values: Sequence[Any]) -> list[Any]:
        """The values of the positive parts, out of one value per part."""
        return [values[part] for part in self.positive]
