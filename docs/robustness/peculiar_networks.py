"""Small networks with the habits that rewriting a network stumbles over."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = ("a", "b", "c")


class Small(nn.Module):
    """Two convolutions with BatchNorm and ReLU, a mean and a linear layer; the base of the networks below."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 12, 3, padding=1)
        self.head = nn.Linear(12, len(CLASSES))

    def features(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → features (n, 12, h / 2, w / 2)."""
        features: Tensor = self.second(self.norm(self.first(images)).relu()).relu()
        return features

    def forward(self, images: Tensor) -> Any:
        """Images (n, 3, h, w) → logits (n, 3)."""
        return self.head(self.features(images).mean((2, 3)))


class SharedModules(Small):
    """One ReLU and one convolution are called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.third = nn.Conv2d(12, 12, 3, padding=1)

    def features(self, images: Tensor) -> Tensor:
        """The features after the second call of the same convolution."""
        values = self.relu(self.second(self.relu(self.norm(self.first(images)))))
        features: Tensor = self.relu(self.third(self.relu(self.third(values))))
        return features


class InPlace(Small):
    """Additions and a ReLU in place, of values that are read again."""

    def features(self, images: Tensor) -> Tensor:
        """The features, with a sum that overwrites what it adds to."""
        values = self.second(self.norm(self.first(images)).relu_())
        values += self.second(self.norm(self.first(images)))
        return functional.relu(values, inplace=True)


class Overwritten(Small):
    """A ReLU in place whose input is read afterwards, so that a copy out of place gives other values."""

    def features(self, images: Tensor) -> Tensor:
        """The features: twice the rectified values, since the ReLU overwrites its input."""
        values = self.second(self.norm(self.first(images)))
        rectified = values.relu_()
        features: Tensor = rectified + values
        return features


class Dictionary(Small):
    """Returns a dictionary of outputs."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits and features by name."""
        features = self.features(images)
        return {"logits": self.head(features.mean((2, 3))), "features": features}


class Flattening(Small):
    """Flattens its features by ``view``, which fails on channels_last memory."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12 * 32 * 32, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of all features."""
        values = self.features(images)
        logits: Tensor = self.head(values.view(values.size(0), -1))
        return logits


class OptionalInput(Small):
    """Takes a mask, which a run does not give."""

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of the features, inside the mask if there is one."""
        values = self.features(images)
        if mask is not None:
            values = values * mask
        logits: Tensor = self.head(values.mean((2, 3)))
        return logits


class ControlFlow(Small):
    """Branches on values, which no tracer follows."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits, after a check of the images."""
        if not torch.isfinite(images).all():
            raise ValueError("images must be finite")
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


class Asserting(Small):
    """Asserts the type of its input."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        assert isinstance(images, Tensor)
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


class Slices(nn.Module):
    """A 2.5-D network: the slices of a volume are the images of a 2-D network, whose outputs are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.slices = Small()

    def forward(self, volumes: Tensor) -> Tensor:
        """Volumes (n, 3, d, h, w) → logits (n, 3)."""
        n, c, d, h, w = volumes.shape
        logits: Tensor = self.slices(volumes.transpose(1, 2).reshape(n * d, c, h, w)).view(n, d, -1).mean(1)
        return logits


class Volumetric(nn.Module):
    """Convolutions of volumes on a picture, whose channels are the slices."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 6, 3, padding=1)
        self.second = nn.Conv3d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w) → logits (n, 3)."""
        values = self.second(self.first(images[:, None]).relu()).relu()
        logits: Tensor = self.head(values.mean((2, 3, 4)))
        return logits


class Gated(Small):
    """Ends in squeeze and excitation, whose gate is the convolution evaluated last."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Conv2d(12, 12, 1)

    def features(self, images: Tensor) -> Tensor:
        """The features times their gate."""
        values = super().features(images)
        return values * torch.sigmoid(self.gate(values.mean((2, 3), keepdim=True)))


class GroupNormed(Small):
    """GroupNorm in place of BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)  # type: ignore[assignment]


def scripted() -> nn.Module:
    """A network compiled by ``torch.jit.script``."""
    network: nn.Module = torch.jit.script(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                                                        nn.Flatten(), nn.Linear(8, len(CLASSES))).eval())  # fmt: skip
    return network


def recorded() -> nn.Module:
    """A network recorded by ``torch.jit.trace``."""
    network: nn.Module = torch.jit.trace(Small().eval(), torch.zeros(1, 3, 64, 64))  # type: ignore[no-untyped-call]
    return network
