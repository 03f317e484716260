"""Seals: every write is seen, by whatever way, and reading is not."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from heatproof.seals import PARTS, SMALL, leaves, sealed

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.complex64)
SIZES = (1, 7, SMALL, 3 * SMALL + 5)
WRITES = {
    "in place": lambda tensor: tensor.neg_(),
    "as data": lambda tensor: tensor.data.neg_(),
    "as an array": lambda tensor: np.negative(tensor.numpy(), out=tensor.numpy()),
    "set": lambda tensor: tensor.set_(-tensor),
    "resized": lambda tensor: tensor.resize_(1),
    "other memory": lambda tensor: setattr(tensor, "data", -tensor),
}


@dataclass(frozen=True)
class Pair:
    first: object
    second: object


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("act", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("shape", [(3,), (4, 3, 50, 60)])
def test_a_write_breaks_the_seal(act, shape, exact):
    tensor = torch.rand(shape) + 1
    (seal,) = sealed(tensor, exact)
    assert not seal.broken()
    act(tensor)
    assert seal.broken()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_exact_seal_sees_one_value_of_any_type(dtype, size):
    tensor = torch.zeros(size).to(dtype)
    (seal,) = sealed(tensor, exact=True)
    tensor.data[-1] = 1
    assert seal.broken()


@pytest.mark.parametrize("turned", [lambda values: values.flip(0), lambda values: values.roll(len(values) // PARTS)])
def test_an_exact_seal_sees_the_same_values_elsewhere(turned):
    tensor = torch.arange(2.0 * SMALL)
    (seal,) = sealed(tensor, exact=True)
    tensor.data.copy_(turned(tensor.clone()))
    assert seal.broken()


@pytest.mark.parametrize(
    "change",
    [
        lambda tensor: tensor.to(memory_format=torch.channels_last),
        lambda tensor: tensor[:, :, ::2, 3:],
        lambda tensor: tensor[:1].expand(8, -1, -1, -1),
        lambda tensor: tensor[:0],
        lambda tensor: tensor.requires_grad_(),
    ],
    ids=["channels last", "a part", "expanded", "empty", "of a graph"],
)
def test_every_form_of_tensor_can_be_sealed_and_read(change):
    tensor = change(torch.rand(4, 3, 40, 50))
    for exact in (False, True):
        (seal,) = sealed(tensor, exact)
        (tensor * 2).sum()
        assert not seal.broken()


def test_nan_is_no_write():
    (seal,) = sealed(torch.full((5,), torch.nan))
    assert not seal.broken()


def test_the_leaves_of_nested_values():
    tensors = [torch.rand(1) for _ in range(4)]
    array = np.zeros(2)
    value = Pair({"a": tensors[0], "b": [tensors[1], (tensors[2], "text")]}, Pair(tensors[3], array))
    *first, last = leaves(value)
    assert all(leaf is tensor for leaf, tensor in zip(first, tensors, strict=True))
    array[1] = 5
    assert last[1] == 5


@pytest.mark.parametrize("array", [np.array(["a"]), np.zeros(2, ">f4"), np.zeros(3)[::-1], np.zeros(2, object)])
def test_arrays_that_torch_cannot_read_have_no_seal(array):
    assert sealed(array) == []
