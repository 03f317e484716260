"""Snapshots: the state of networks and of the process, which a component must not change."""

import gc
import random
import tracemalloc
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Snapshot = dict[str, Any]
ARRAYS = [tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)]
"""The memory of numpy's arrays, which the garbage collector does not track."""


def of_networks(networks: Iterable[nn.Module]) -> Snapshot:
    """Hooks, replaced forwards, training flags, weights, buffers and gradients of every module, by a readable name."""
    state: Snapshot = {}
    for number, network in enumerate(networks):
        for name, module in network.named_modules():
            state |= _of_module(f"{name or 'the network'} (network {number})", module)
    return state


def of_process() -> Snapshot:
    """The states of the random generators and the global settings of torch."""
    return {
        "the random state of torch": torch.get_rng_state(),
        "the random state of numpy": [np.asarray(part) for part in np.random.get_state()],
        "the random state of Python": random.getstate(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's anomaly mode": torch.is_anomaly_enabled(),
        "torch's number of threads": torch.get_num_threads(),
    }


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """The names of the values that differ between two snapshots."""
    return sorted(name for name in before.keys() | after.keys() if not _same(before.get(name), after.get(name)))


def _of_module(name: str, module: nn.Module) -> Snapshot:
    hooks = [
        list(value)
        for attribute, value in vars(module).items()
        if attribute.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called"))
    ]
    state: Snapshot = {
        f"the hooks of {name}": hooks,
        f"the forward of {name}": module.__dict__.get("forward"),
        f"the training flag of {name}": module.training,
        f"the attributes of {name}": sorted(module.__dict__),
        f"the in-place flag of {name}": getattr(module, "inplace", None),
    }
    for leaf, parameter in module.named_parameters(recurse=False):
        state[f"parameter {leaf} of {name}"] = parameter.detach().clone()
        state[f"the gradient of {leaf} of {name}"] = None if parameter.grad is None else parameter.grad.clone()
        state[f"requires_grad of {leaf} of {name}"] = parameter.requires_grad
    for leaf, buffer in module.named_buffers(recurse=False):
        state[f"buffer {leaf} of {name}"] = buffer.clone()
    return state


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and first.dtype == second.dtype and bool(torch.equal(first, second))
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return bool(np.array_equal(first, second))
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


@contextmanager
def new_objects_only() -> Iterator[None]:
    """Hide existing objects from the garbage collector, and do not record warnings."""
    gc.freeze()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        gc.unfreeze()


@contextmanager
def traced() -> Iterator[None]:
    """Trace the allocation of memory."""
    before = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        yield
    finally:
        if not before:
            tracemalloc.stop()


def arrays() -> int:
    """The number of living arrays that were created while memory was traced."""
    return len(tracemalloc.take_snapshot().filter_traces(ARRAYS).traces)
