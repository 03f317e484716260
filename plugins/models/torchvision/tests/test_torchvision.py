"""Classifiers of torchvision: names, classes, weights from files and the cache, preparation; and its transforms."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models, transforms

from heatproof.errors import HeatproofError, ModelError
from heatproof.records import Sample
from heatproof.registry.catalog import default
from heatproof.testing import check_model, conforms
from heatproof_torchvision.classifier import Torchvision

SMALL = "squeezenet1_1"
CACHED = "squeezenet1_1-b8a52dc0.pth"
GRADES = ("healthy", "mild", "severe")


def photograph() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 70, 90), dtype=np.uint8)


def pillow() -> Image.Image:
    return Image.fromarray(photograph().transpose(1, 2, 0))


def small(**params: Any) -> Torchvision:
    return Torchvision(**({"name": SMALL, "classes": GRADES, "size": 64} | params))


@conforms(small())
def test_conformance(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0"])
def test_usual_networks_conform(name: str) -> None:
    check_model(Torchvision(name=name, classes=GRADES, size=32))


def test_the_classes_are_those_of_the_weights() -> None:
    model = Torchvision(name="resnet18")
    assert (len(model.classes), model.classes[282]) == (1000, "tiger cat")
    assert len(set(model.classes)) == 1000


@pytest.mark.parametrize(
    ("params", "transform"),
    [
        ({"name": "resnet18"}, models.ResNet18_Weights.DEFAULT.transforms()),
        ({"name": "resnet50"}, models.ResNet50_Weights.IMAGENET1K_V2.transforms()),
        ({"name": "resnet50", "weights": "IMAGENET1K_V1"}, models.ResNet50_Weights.IMAGENET1K_V1.transforms()),
        ({"name": "resnet18", "size": 112}, models.ResNet18_Weights.DEFAULT.transforms(crop_size=112, resize_size=128)),
        (
            {"name": "resnet18", "mean": [0.5], "std": [0.25]},
            models.ResNet18_Weights.DEFAULT.transforms(mean=[0.5], std=[0.25]),
        ),
        (
            {"name": "resnet18", "fit": "stretch", "size": 48, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
            transforms.Compose([
                transforms.Resize((48, 48)), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_images_are_prepared_as_by_torchvision(params: dict[str, Any], transform: Any) -> None:
    prepared = Torchvision(**params).prepare(Sample("a", photograph()))
    np.testing.assert_array_equal(prepared.image, transform(pillow()).numpy())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "resnet19"}, "torchvision has no classifier 'resnet19'; did you mean 'resnet1"),
        ({"name": "RESNET18"}, "did you mean 'resnet18'"),
        (
            {"name": "fcn_resnet50"},
            "no classifier 'fcn_resnet50'; it has a network of this name for segmentation",
        ),
        ({"name": "fasterrcnn_resnet50_fpn"}, "it has a network of this name for detection"),
        ({"name": "quantized_resnet18"}, "it has a network of this name for quantization"),
        (
            {"name": "resnet18", "weights": "IMAGENET1K_V2"},
            r"'IMAGENET1K_V2' of the classifier resnet18 .*; did you",
        ),
        (
            {"name": "vgg16", "weights": "IMAGENET1K_FEATURES"},
            "no weights 'IMAGENET1K_FEATURES' of the classifier",
        ),
        ({"classes": GRADES}, "name"),
    ],
    ids=str,
)
def test_an_unknown_name_is_refused_with_near_ones(params: dict[str, Any], message: str) -> None:
    with pytest.raises(HeatproofError, match=message):
        Torchvision(**params)


def test_without_torchvision_the_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModelError, match=r"torchvision is not installed; install it with `pip install torchvision`\.$"):
        small()


def test_checkpoints_of_training_are_loaded(tmp_path: Path) -> None:
    trained = small(seed=9).network.state_dict()
    save_file({name: value.half() for name, value in trained.items()}, tmp_path / "half.safetensors")
    lightning = {f"model.net.{name}": value for name, value in trained.items()}
    torch.save({"state_dict": lightning | {"loss.weight": torch.ones(3)}}, tmp_path / "lightning.ckpt")
    half = small(weights=tmp_path / "half.safetensors").network.state_dict()
    assert all(torch.equal(value, trained[name].half().float()) for name, value in half.items())
    model = small(weights=tmp_path / "lightning.ckpt")
    whole = model.network.state_dict()
    assert "the prefix 'model.net.' of names; not used: 1" in model.notices()[0]
    assert all(torch.equal(value, trained[name]) for name, value in whole.items())


def test_a_checkpoint_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(small().network.state_dict(), path)
    with pytest.raises(ModelError, match=r"has 3 outputs, the network 2 \(by the shape of 'classifier.1"):
        small(classes=GRADES[:2], weights=path).build()
    with pytest.raises(ModelError, match="has 3 outputs, the network 1000"):
        Torchvision(name=SMALL, weights=path).build()
    with pytest.raises(ModelError, match=r"does not fit the network: keys missing: \d+"):
        Torchvision(name="shufflenet_v2_x0_5", classes=GRADES, weights=path).build()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="is not a checkpoint that can be loaded safely"):
        small(weights=path).build()
    with pytest.raises(ModelError, match="does not exist"):
        small(weights=tmp_path / "b.pt").build()


def test_weights_are_never_downloaded(hub: Path) -> None:
    for weights in ("pretrained", "DEFAULT", "IMAGENET1K_V1"):
        with pytest.raises(ModelError, match="are not on this computer, and heatproof downloads none") as caught:
            small(weights=weights).build()
        assert f"{CACHED} and save it as {hub / CACHED}, or set weights to the path" in str(caught.value)


def test_weights_in_the_cache_are_loaded_and_another_head_is_random(hub: Path) -> None:
    cached = Torchvision(name=SMALL, seed=4).network.state_dict()
    torch.save(cached, hub / CACHED)
    whole = Torchvision(name=SMALL, weights="pretrained").network.state_dict()
    assert all(torch.equal(value, cached[name]) for name, value in whole.items())
    model = small(weights="pretrained")
    body = model.network.state_dict()
    assert "the weights of its 3 outputs are random" in model.notices()[0]
    head = small().network.state_dict()
    for name, value in body.items():
        assert torch.equal(value, (head if name.startswith("classifier.") else cached)[name])


def test_a_file_of_another_network_in_the_cache_is_named(hub: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), hub / CACHED)
    with pytest.raises(ModelError, match=f"{CACHED} does not fit the network"):
        small(weights="pretrained").build()


def test_old_names_of_densenets_are_translated() -> None:
    with torch.device("meta"):
        names = list(models.densenet121(weights=None).state_dict())
    translate = small().translations(nn.Identity())["older DenseNets of torchvision"]
    old = [re.sub(r"(norm|conv)([12])", r"\1.\2", name) for name in names]
    assert sum(name != other for name, other in zip(names, old)) > 600
    assert [translate(name) for name in old] == names == [translate(name) for name in names]


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_a_network_that_may_normalise_by_itself_asks(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"^{name} may normalise images itself, which a checkpoint does not tell; set"):
        Torchvision(name=name, classes=GRADES, weights=tmp_path / "a.pt").build()
    with pytest.raises(ModelError, match="does not exist"):
        Torchvision(
            name=name,
            classes=GRADES,
            weights=tmp_path / "a.pt",
            options={"transform_input": True, "init_weights": False},
        ).build()


def test_a_network_of_one_size_is_built_for_the_size() -> None:
    sized = Torchvision(name="vit_b_32", size=96)
    swag = Torchvision(name="vit_b_16", weights="IMAGENET1K_SWAG_E2E_V1")
    with torch.device("meta"):
        assert sized.random_network(3).image_size == 96
        assert swag.random_network(3).image_size == swag.preparation.params.size[0] == 384


@pytest.mark.parametrize(
    ("source", "transform"),
    [
        (transforms.Compose([transforms.Resize(40), transforms.ToTensor()]),) * 2,
        (models.ResNet18_Weights.DEFAULT, models.ResNet18_Weights.DEFAULT.transforms()),
    ],
    ids=["transform", "weights"],
)
def test_transforms_and_weights_are_preparations(source: Any, transform: Any) -> None:
    preparation = default().first("heatproof_preparation", source=source)
    np.testing.assert_array_equal(preparation(Sample("a", photograph())).image, transform(pillow()).numpy())


def test_what_is_no_transform_has_no_preparation() -> None:
    assert default().first("heatproof_preparation", source=nn.Conv2d(3, 3, 1)) is None
    with pytest.raises(ModelError, match="RandomHorizontalFlip"):
        default().first("heatproof_preparation", source=transforms.Compose([transforms.RandomHorizontalFlip()]))
