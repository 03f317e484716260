"""A caller's network as a model: its classes, its head and its precision, learnt by one pass over one image."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..imaging.transforms import Preparation
from ..model import Head, Model, Precision
from ..network.tracing import explained, named_outputs
from ..network.weights import tensors, unwrapped
from ..records import Sample

Say = Callable[[str], object]
"""Takes a sentence about what was inferred."""
HALF = (torch.float16, torch.bfloat16)


@contextmanager
def restored(network: nn.Module, say: Say) -> Iterator[None]:
    """Put the training flags and the device of a network back when the block has ended.

    Raises ``ModelError`` for a network on several devices, or without values.
    """
    flags = [(module, module.training) for module in network.modules()]
    devices = {tensor.device for tensor in tensors(network)}
    if len(devices) > 1 or torch.device("meta") in devices:
        names = ", ".join(sorted(map(str, devices)))
        raise ModelError(f"the network lies on {names}; move it to one device, with its weights loaded.")
    if network.training:
        say("The network is in training mode; it is explained in evaluation mode, and put back afterwards.")
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training
        for device in devices:
            network.to(device)


def in_single_precision(network: nn.Module, say: Say) -> nn.Module:
    """The network itself, or a copy in float32 of one in half precision, whose gradients would vanish."""
    network = unwrapped(network)
    halves = sorted({str(tensor.dtype) for tensor in tensors(network) if tensor.dtype in HALF})
    if not halves:
        return network
    say(f"The network has weights in {halves[0].removeprefix('torch.')}; a copy of it in float32 is explained.")
    return copy.deepcopy(network).float()


def precision_of(network: nn.Module) -> Precision:
    """The precision of the network's weights."""
    types = {tensor.dtype for tensor in tensors(network)}
    return "float64" if torch.float64 in types else "float32"


def device_of(network: nn.Module, say: Say) -> str:
    """The device of a network, as a run names it; the CPU for other kinds than CUDA."""
    device = next((tensor.device for tensor in tensors(network)), torch.device("cpu"))
    if device.type not in ("cpu", "cuda"):
        say(f"The network lies on {device}; it is explained on the CPU, and put back afterwards.")
        return "cpu"
    return str(device)


def model_of(
    network: nn.Module, classes: Sequence[str] | None, head: Head | None, preparation: Preparation, sample: Sample,
    say: Say,
) -> Model:  # fmt: skip
    """The model of a network, whose outputs are learnt from one image, prepared already.

    Without ``classes`` they are named by their positions; without a ``head``, a single output is a sigmoid unit and
    several are a softmax. Raises ``ModelError`` for a network that does not take the image, or with other outputs.
    """
    outputs = _outputs(network, sample)
    names = tuple(outputs)
    logits = outputs[explained(names)]
    count = _count(logits, sample)
    if classes is None:
        classes = [str(index) for index in range(max(2, count))]
        if count == 1 and head in ("ordinal", "regression"):
            raise ModelError(f"the network has one output and its head is {head}; give classes=[…], the grades.")
    classes = [str(name) for name in classes]
    shared = count == 1 and (len(classes) == 2 or head in ("ordinal", "regression"))
    if count != len(classes) and not shared:
        raise ModelError(f"classes: {len(classes)}, outputs of the network: {count}; name every output, in order.")
    if head is None:
        head = "sigmoid" if count == 1 else "softmax"
        kind = "one sigmoid unit" if count == 1 else f"a softmax over {count} classes"
        say(f"The network's output is read as {kind}; head= says otherwise.")
    return Model.of(network, classes, preparation, head, names)


def _outputs(network: nn.Module, sample: Sample) -> dict[str, Any]:
    weight = next((tensor for tensor in tensors(network) if tensor.is_floating_point()), torch.empty(0))
    image = torch.as_tensor(sample.image)[None].to(device=weight.device, dtype=weight.dtype)
    flags = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad():
            outputs = network.eval()(image)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"the network does not take an image of shape {tuple(image.shape)} ({type(error).__name__}: {reason}); "
            "give images as it takes them, or preparation=, the transform that it was trained with."
        ) from error
    finally:
        for module, training in flags:
            module.training = training
    if not isinstance(outputs, (Tensor, Mapping, tuple, list)):
        raise ModelError(
            f"the network answers by a {type(outputs).__name__}; wrap it in a module that returns its tensor of logits."
        )
    if isinstance(outputs, (tuple, list)):
        return dict(zip(("logits", *(f"output{index}" for index in range(1, len(outputs)))), outputs))
    return named_outputs(outputs, ("logits",))


def _count(logits: Any, sample: Sample) -> int:
    """The number of logits per image, or per pixel of a segmentation network."""
    if not isinstance(logits, Tensor) or logits.ndim not in (2, 2 + len(sample.space)) or len(logits) != 1:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"the network answers one image by an output of {shape}; allowed: (1, class), and one more axis per "
            "axis of the image for a segmentation. Wrap it in a module that returns one of them."
        )
    return logits.shape[1]
