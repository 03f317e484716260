"""Converts transforms of torchvision and timm to preparations, step by step; what is unknown is refused by name."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import nn

from heatproof.errors import ModelError
from heatproof_transforms.geometry_steps import Crop, Fit, Pad, Resize
from heatproof_transforms.preparation import AnyStep, TransformPreparation
from heatproof_transforms.step import Api
from heatproof_transforms.value_steps import Colour, Grey, Normalize, Scale, ToPillow, ToTensor, Values

Steps: TypeAlias = Iterable[AnyStep]
LIBRARIES = ("torchvision.transforms", "timm.data.transforms")
"""The modules whose classes are transforms."""
STATES = {"to_tensor": "tensor", "to_pillow": "pillow", "scale": "float", "values": "float"}
"""What an image is after a step."""
REFUSED = {"scale": "pillow", "values": "pillow"}
"""What a step does not take."""
ADVICE = "give the transform of evaluation, made of Compose, Resize, CenterCrop, Pad, Grayscale, ToTensor and Normalize"


def preparation_of(source: Any) -> TransformPreparation | None:
    """Convert a transform of torchvision (v1, v2, presets) or timm; None for what is no transform of theirs.

    Raises ``ModelError`` for a step that is random, unknown, or has settings that cannot be computed here.
    """
    if not is_transform(source):
        return None
    steps = tuple(_steps(source))
    _require_floats(steps, source)
    channels = None
    if not any(isinstance(step, (Grey, Colour)) for step in steps):
        channels = max(
            (len(step.mean) for step in steps if isinstance(step, Normalize) and len(step.mean) > 1), default=None
        )
    return TransformPreparation(steps=steps, channels=channels)


def _channels(steps: Iterable[AnyStep]) -> int | None:
    """The channels that the steps need: as many as means, unless a step sets them."""
    for step in steps:
        if isinstance(step, (Grey, Colour)):
            return None
        if isinstance(step, Normalize) and len(step.mean) > 1:
            return len(step.mean)
    return None


def is_transform(source: Any) -> bool:
    """Whether an object is a transform of torchvision or timm, or a ``Sequential`` of them."""
    if type(source) is nn.Sequential:
        return len(source) > 0 and all(map(is_transform, source))
    return type(source).__module__.startswith(LIBRARIES)


def _steps(transform: Any) -> Iterator[AnyStep]:
    """The steps of a transform in order."""
    convert = _converters().get(type(transform))
    if convert is None:
        raise ModelError(f"{_named(transform)} is a step that cannot be converted exactly; {ADVICE}.")
    yield from convert(transform)


def _named(transform: Any) -> str:
    """A step as its author sees it, in one line: its class, with its settings if they are short."""
    text = " ".join(repr(transform).split())
    name = getattr(transform, "__name__", type(transform).__name__)
    if text.startswith(name) and len(text) < 80:
        return text
    return name


def _require_floats(steps: Iterable[AnyStep], source: Any) -> None:
    """Raise ``ModelError`` for a transform that does not end in floats, or needs them earlier."""
    state = "tensor"
    for step in steps:
        if REFUSED.get(step.kind, "") == state or (step.kind == "normalize" and state != "float"):
            raise ModelError(
                f"{_named(source)} has the step {step.kind} on a {state} image; convert it to floats first."
            )
        if step.kind != "to_tensor" or state == "pillow":
            state = STATES.get(step.kind, state)
    if state != "float":
        raise ModelError(
            f"{_named(source)} gives whole numbers from 0 to 255; add ToTensor() or ToDtype(torch.float32, scale=True)."
        )


def _converters() -> Mapping[type, Callable[[Any], Steps]]:
    """The function that converts each class exactly; a subclass may do anything, and is not converted."""
    from torchvision.transforms import _presets as presets
    from torchvision.transforms import transforms as v1
    from torchvision.transforms import v2

    table: dict[type, Callable[[Any], Steps]] = {
        nn.Sequential: _all, nn.Identity: _none, v1.Compose: _compose, v2.Compose: _compose, v2.Identity: _none,
        v1.Resize: _resize, v2.Resize: _resize, v1.CenterCrop: _crop, v2.CenterCrop: _crop, v1.Pad: _pad, v2.Pad: _pad,
        v1.Grayscale: _grey, v2.Grayscale: _grey, v2.RGB: _colour, v1.ToPILImage: _pillow, v2.ToPILImage: _pillow,
        v1.ToTensor: _to_floats, v2.ToTensor: _to_floats, v1.PILToTensor: _to_tensor, v2.PILToTensor: _to_tensor,
        v2.ToImage: _to_tensor, v2.ToPureTensor: _none, v1.ConvertImageDtype: _scale,
        v2.ConvertImageDtype: _scale, v2.ToDtype: _to_dtype,
        v1.Normalize: _normalize, v2.Normalize: _normalize, presets.ImageClassification: _preset,
    }  # fmt: skip
    if "timm" in sys.modules:
        from timm.data import transforms as timm

        table |= {
            timm.ResizeKeepRatio: _fit, timm.CenterCropOrPad: _crop, timm.MaybeToTensor: _to_floats,
            timm.MaybePILToTensor: _to_tensor,
        }  # fmt: skip
    return table


def _all(transforms: Iterable[Any]) -> Steps:
    return chain.from_iterable(map(_steps, transforms))


def _none(transform: Any) -> Steps:
    return ()


def _compose(compose: Any) -> Steps:
    return _all(compose.transforms)


def _api(transform: Any) -> Api:
    if ".v2." in type(transform).__module__:
        return "v2"
    return "v1"


def _interpolation(value: Any) -> Any:
    """The name of an interpolation given as torchvision's member, text, or Pillow's number."""
    if isinstance(value, int):
        from PIL.Image import Resampling

        return Resampling(value).name.lower()
    return str(getattr(value, "value", value))


def _pair(size: Any) -> Any:
    """A size (h, w) from one number, or one or two in a sequence."""
    sides = _numbers(size)
    return sides * (2 // len(sides))


def _resize(resize: Any) -> Steps:
    size = resize.size
    if size is not None and not isinstance(size, int):
        size = tuple(size)
        size = size[0] if len(size) == 1 else size
    interpolation = _interpolation(resize.interpolation)
    longest = resize.max_size
    return [Resize(
        size=size, longest=longest, interpolation=interpolation, antialias=bool(resize.antialias), api=_api(resize)
    )]  # fmt: skip


def _fit(resize: Any) -> Steps:
    """timm's ``ResizeKeepRatio``, unless it draws the scale, the aspect or the interpolation."""
    is_random = resize.random_scale_prob > 0 or resize.random_aspect_prob > 0
    if is_random or isinstance(resize.interpolation, (tuple, list)):
        raise ModelError(f"{_named(resize)} is random; {ADVICE}.")
    return [Fit(size=resize.size, longest=resize.longest, interpolation=_interpolation(resize.interpolation))]


def _fill(transform: Any) -> Any:
    """The fill of a transform; raises ``ModelError`` for borders that are no constant."""
    fill = getattr(transform, "fill", 0)
    if getattr(transform, "padding_mode", "constant") != "constant":
        raise ModelError(f"{_named(transform)} repeats the image beyond its border; allowed: padding_mode 'constant'.")
    if fill is None:
        return 0.0
    if isinstance(fill, (tuple, list)):
        return tuple(fill)
    if isinstance(fill, (int, float)):
        return fill
    raise ModelError(f"{_named(transform)} has a fill that depends on the type; give one number, or one per channel.")


def _crop(crop: Any) -> Steps:
    return [Crop(size=_pair(crop.size), fill=_fill(crop))]


def _pad(pad: Any) -> Steps:
    """``Pad`` of one number, of (left and right, top and bottom), or of all four sides."""
    sides = _numbers(pad.padding)
    return [Pad(sides=sides * (4 // len(sides)), fill=_fill(pad))]


def _grey(grey: Any) -> Steps:
    return [Grey(channels=grey.num_output_channels, api=_api(grey))]


def _colour(colour: Any) -> Steps:
    return [Colour()]


def _pillow(transform: Any) -> Steps:
    if transform.mode not in (None, "RGB", "L"):
        raise ModelError(f"{_named(transform)} gives images of mode {transform.mode}; allowed: RGB, L, or no mode.")
    return [ToPillow()]


def _to_tensor(transform: Any) -> Steps:
    return [ToTensor()]


def _to_floats(transform: Any) -> Steps:
    return [ToTensor(), Scale()]


def _scale(transform: Any) -> Steps:
    return [_floats(transform, transform.dtype, True)]


def _to_dtype(transform: Any) -> Steps:
    """``ToDtype`` of one type, or of the type that it gives images."""
    from torchvision import tv_tensors

    dtype = transform.dtype
    if isinstance(dtype, Mapping):
        dtype = dtype.get(tv_tensors.Image, dtype.get("others"))
    return [_floats(transform, dtype, transform.scale)]


def _floats(transform: Any, dtype: Any, scale: bool) -> AnyStep:
    if dtype is not torch.float32:
        raise ModelError(f"{_named(transform)} converts to {dtype}; heatproof prepares images as torch.float32.")
    if scale:
        return Scale(api=_api(transform))
    return Values()


def _normalize(normalize: Any) -> Steps:
    return [Normalize(mean=_numbers(normalize.mean), std=_numbers(normalize.std))]


def _numbers(values: Any) -> tuple[Any, ...]:
    """One number, or a sequence or tensor of them, as a tuple."""
    if isinstance(values, torch.Tensor):
        values = values.flatten().tolist()
    if isinstance(values, (int, float)):
        values = [values]
    return tuple(values)


def _preset(preset: Any) -> Steps:
    """The evaluation that belongs to weights of torchvision, on Pillow's image."""
    return [
        *_resize_of_preset(preset), Crop(size=_pair(preset.crop_size)), ToTensor(), Scale(),
        Normalize(mean=tuple(preset.mean), std=tuple(preset.std)),
    ]  # fmt: skip


def _resize_of_preset(preset: Any) -> Steps:
    (side,) = preset.resize_size
    return [Resize(size=side, interpolation=_interpolation(preset.interpolation), antialias=bool(preset.antialias))]
