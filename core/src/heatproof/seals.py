"""Seals: they tell whether a tensor was written to, also by ways that its version does not show."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = 4096
"""Values up to which a copy is compared."""
PARTS = 64
"""Parts of a larger tensor whose bits are summed: exchanged values change the sums, unless they stay in one part."""
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
"""The integers as which the bits are read, by the size of a value in bytes."""


@dataclass(frozen=True)
class Seal:
    """A tensor with its memory, form and version, and the content by ``bits``."""

    tensor: Tensor
    form: tuple[Any, ...]
    content: Tensor
    exact: bool

    def moved(self) -> bool:
        """Whether the tensor has another version, memory or form; it costs less than a microsecond."""
        return form(self.tensor) != self.form

    def broken(self) -> bool:
        """Whether the tensor was written to, as far as ``moved`` and its content show."""
        return self.moved() or not torch.equal(bits(self.tensor, self.exact), self.content)


def sealed(value: Any, exact: bool = False) -> list[Seal]:
    """The seals of all tensors and arrays in a value; of a large tensor every n-th value, or all if ``exact``."""
    return [Seal(tensor, form(tensor), bits(tensor, exact), exact) for tensor in leaves(value)]


@dataclass(frozen=True)
class Original:
    """A tensor of a batch with its seal and a copy of its values."""

    name: str
    seal: Seal
    values: Tensor

    @classmethod
    def of(cls, name: str, tensor: Tensor) -> "Original":
        """Copy a tensor as it is."""
        return cls(name, sealed(tensor)[0], tensor.detach().clone())

    def damaged(self) -> bool:
        """Whether any value has changed."""
        return self.seal.moved() or not torch.equal(bits(self.seal.tensor, True), bits(self.values, True))

    def restored(self) -> "Original":
        """Give a tensor that was written to its values back."""
        if not self.seal.broken():
            return self
        self.seal.tensor.data = self.values.clone()
        return Original.of(self.name, self.seal.tensor)


def form(tensor: Tensor) -> tuple[Any, ...]:
    """The memory, version, shape and dtype of a tensor."""
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, tensor.shape, tensor.dtype


def bits(tensor: Tensor, exact: bool) -> Tensor:
    """The bits of a small tensor, sums over those of a large one, or every n-th value of it."""
    span = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    if not tensor.numel():
        return torch.empty(0)
    flat = tensor.detach().as_strided((span,), (1,)).view(INTEGERS[tensor.element_size()])
    if len(flat) <= SMALL:
        return flat.clone()
    if not exact:
        return flat[:: len(flat) // (SMALL // 4)].clone()
    whole = len(flat) // PARTS * PARTS
    sums = flat[:whole].view(PARTS, -1).sum(1, dtype=flat.dtype)
    return torch.cat([sums, flat[whole:]])


def leaves(value: Any) -> Iterator[Tensor]:
    """The dense tensors and writable arrays in nested mappings, sequences and dataclasses."""
    if isinstance(value, Tensor):
        if value.layout == torch.strided and not value.is_meta:
            yield value
    elif isinstance(value, np.ndarray):
        plain = value.dtype.kind in "fiub" and value.dtype.isnative and value.itemsize <= 8
        if plain and value.flags.writeable and min(value.strides, default=1) > 0:
            yield torch.from_numpy(value)
    for part in _parts(value):
        yield from leaves(part)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (list, tuple)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return ()
