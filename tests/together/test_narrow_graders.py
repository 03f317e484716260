"""The published graders with a share of their channels, and with findings in place of the grade."""

from typing import Any

import pytest
import torch
from torch import nn

from heatproof_fundus.grader import BackboneParams, Grader
from heatproof_inceptionv3.inceptionv3 import InceptionV3
from heatproof_resnet50.resnet50 import ResNet50
from heatproof_vgg16.vgg16 import VGG16

GRADERS = {VGG16: 13, ResNet50: 53, InceptionV3: 94}
"""Each grader and the number of its convolutions."""
SIZE = 112
EIGHTH = {"width": 0.125, "size": SIZE}


def norms(network: nn.Module) -> list[tuple[float, float | None]]:
    modules = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return [(module.eps, module.momentum) for module in modules]


@pytest.mark.parametrize(("kind", "count"), GRADERS.items())
def test_a_narrow_network_has_a_share_of_the_channels_everywhere_but_in_its_head(
    kind: type[Grader[BackboneParams]], count: int
) -> None:
    narrow = kind(**EIGHTH)
    with torch.device("meta"):
        full = kind().architecture()
    tensors = narrow.network.state_dict()
    assert tensors.keys() == full.state_dict().keys()
    for name, value in full.state_dict().items():
        if not name.startswith(narrow.head_name):
            shape = [size if size == 3 and axis == 1 else size // 8 for axis, size in enumerate(value.shape[:2])]
            assert list(tensors[name].shape) == [*shape, *value.shape[2:]]
    assert norms(narrow.network) == norms(full)
    assert len(narrow.layers()) == count
    logits = narrow.forward(torch.rand(1, 3, SIZE, SIZE))["logits"]
    assert logits.shape == (1, 1)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("kind", GRADERS)
def test_with_findings_only_the_last_layer_differs(kind: type[Grader[BackboneParams]]) -> None:
    findings: Any = ("haemorrhages", "drusen")
    grade = kind(**EIGHTH).network.state_dict()
    model = kind(**EIGHTH, findings=findings)
    tensors = model.network.state_dict()
    last = [name for name in tensors if tensors[name].shape != grade[name].shape]
    assert last == [f"{model.head_name}.6.weight", f"{model.head_name}.6.bias"]
    assert all(torch.equal(tensors[name], grade[name]) for name in tensors if name not in last)
    assert (model.classes, model.head) == (findings, "sigmoid")
    assert model.forward(torch.rand(2, 3, SIZE, SIZE))["logits"].shape == (2, 2)
