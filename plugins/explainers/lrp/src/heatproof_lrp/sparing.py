"""Leaves out what a rule computes for negative inputs, at layers that have none."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from zennit.core import BasicHook, Hook
from zennit.rules import AlphaBeta, ZPlus

FOR_POSITIVE: Mapping[type[Hook], tuple[int, ...]] = {ZPlus: (0,), AlphaBeta: (0, 2)}
"""Rule → which of its parts take the positive inputs; the others take the negative ones, without bias."""


class Nothing:
    """Zero that costs no pass over memory when it is added or multiplied."""

    def __add__(self, other: Any) -> Any:
        return other

    def __mul__(self, other: Any) -> "Nothing":
        return self

    __radd__, __rmul__ = __add__, __mul__


NOTHING = Nothing()


def sparing(rule: Hook) -> Hook:
    """The rule, with half of its passes where no input is negative: behind a ReLU the other half is exactly zero."""
    return Sparing(rule, FOR_POSITIVE[type(rule)]) if type(rule) in FOR_POSITIVE else rule


class Sparing(BasicHook):  # type: ignore[misc]
    """A rule of Zennit's that runs its positive parts alone where they are all of it."""

    PARTS = ("input_modifiers", "param_modifiers", "output_modifiers")

    def __init__(self, rule: BasicHook, positive: Sequence[int]):
        super().__init__(*(getattr(rule, name) for name in self.PARTS), rule.gradient_mapper, rule.reducer)
        self.positive = tuple(positive)

    def copy(self) -> "Sparing":
        """The same rule for another layer."""
        return Sparing(self, self.positive)

    def backward(self, module: nn.Module, grad_input: Any, grad_output: Any) -> Any:
        """The relevance of the input, by the parts that are not zero."""
        if not bool(self.stored_tensors["input"][0].amin() >= 0):
            return super().backward(module, grad_input, grad_output)
        whole: dict[str, Any] = dict(vars(self))
        mapper, reducer = whole["gradient_mapper"], whole["reducer"]
        for name in self.PARTS:
            setattr(self, name, [whole[name][part] for part in self.positive])
        self.gradient_mapper = lambda relevance, outputs: self._chosen(mapper(relevance, self._spread(outputs, whole)))
        self.reducer = lambda inputs, gradients: reducer(self._spread(inputs, whole), self._spread(gradients, whole))
        try:
            return super().backward(module, grad_input, grad_output)
        finally:
            self.__dict__.update(whole)

    def _spread(self, values: Sequence[Any], whole: Mapping[str, Any]) -> list[Any]:
        """One value per part of the whole rule: nothing for those that are left out."""
        given = dict(zip(self.positive, values))
        return [given.get(part, NOTHING) for part in range(len(whole["input_modifiers"]))]

    def _chosen(self, values: Sequence[Any]) -> list[Any]:
        return [values[part] for part in self.positive]
