"""U-Net and its encoder: outputs, equal class paths, checkpoints, encoders' weights, targets, layers and verdicts."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import HeatproofError, ModelError
from heatproof.model import Model
from heatproof.records import Sample
from heatproof.regions import RegionTarget, class_over_region
from heatproof.testing import conforms
from heatproof_backprop.guided_backprop import GuidedBackprop
from heatproof_cam.gradcam import GradCam
from heatproof_gradient.deeplift import DeepLift
from heatproof_gradient.gradient import Gradient
from heatproof_lrp.lrp import Lrp
from heatproof_unet.unet import UNet, random_unet
from heatproof_unet.unet_encoder import UNetEncoder

BOTH = (UNet, UNetEncoder)
SMALL: dict[str, Any] = {"size": 64, "encoder": "tu-test_efficientnet"}
RESIDUAL: dict[str, Any] = {"size": 64, "encoder": "tu-test_resnet"}


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a U-Net with the statistics of random images, so that its logits differ from each other."""
    network = UNet(**SMALL, seed=7).build().train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(images())
    path = tmp_path_factory.mktemp("unet") / "unet.pt"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def pair(checkpoint: Path) -> tuple[Model, Model]:
    """The U-Net of the file and its encoder, in float64."""
    encoder = UNetEncoder(**SMALL, weights=checkpoint).in_precision("float64")
    encoder.require_built()
    assert re.search(r"not used: \d+ \(such as 'decoder.blocks.0.conv1.0.weight'\)\.$", encoder.notices()[0])
    return UNet(**SMALL, weights=checkpoint).in_precision("float64"), encoder


@conforms(UNet(**SMALL), UNetEncoder(**SMALL))
@pytest.mark.slow
def test_conformance(check):
    check()


def test_a_mask_of_224_pixels_and_a_logit_per_class():
    with torch.device("meta"):
        network = random_unet(UNet().params)
        mask, logits = network(torch.empty(2, 3, 224, 224))
        features = network.encoder(torch.empty(1, 3, 224, 224))
    assert mask.shape == (2, 1, 224, 224)
    assert logits.shape == (2, 3)
    assert [(value.shape[1], value.shape[2]) for value in features[1:]] == [
        (32, 112), (24, 56), (40, 28), (112, 14), (320, 7),
    ]  # fmt: skip
    widths = [block.conv2[0].out_channels for block in network.decoder.blocks]
    assert widths == [256, 128, 64, 32, 16]
    kinds = [type(layer).__name__ for layer in network.encoder.modules()]
    assert (kinds.count("SiLU") > 0, kinds.count("ReLU")) == (True, 0)


def test_the_encoder_alone_gives_the_logits_of_the_unet(pair):
    unet, encoder = pair
    with torch.no_grad():
        expected = unet.forward(images(torch.float64))
        assert torch.equal(encoder.forward(images(torch.float64))["logits"], expected["logits"])
    assert expected.keys() == {"mask", "logits"}
    assert float(expected["logits"].std()) > 1e-3
    assert unet.classes == encoder.classes == ("Normal", "CHF", "pneumonia")


def test_equal_seeds_give_equal_class_paths():
    whole = UNet(**SMALL, seed=4).network.state_dict()
    alone = UNetEncoder(**SMALL, seed=4).network.state_dict()
    assert {name for name in whole if name.startswith(("encoder.", "classification_head."))} == alone.keys()
    assert all(torch.equal(value, whole[name]) for name, value in alone.items())
    assert not torch.equal(alone["classification_head.3.weight"], UNet(**SMALL).network.classification_head[3].weight)


def test_a_unet_needs_the_decoder_and_an_encoder_nothing_else(tmp_path, recwarn):
    encoder = UNetEncoder(**SMALL, seed=4)
    torch.save(encoder.network.state_dict(), tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"keys missing: \d+ \(such as 'decoder"):
        UNet(**SMALL, weights=tmp_path / "a.pt").build()
    UNetEncoder(**SMALL, weights=tmp_path / "a.pt").build()
    assert not [warning for warning in recwarn if "checkpoint" in str(warning.message)]
    torch.save(UNet(**RESIDUAL).network.state_dict(), tmp_path / "b.pt")
    with pytest.raises(ModelError, match="does not fit the network"):
        UNetEncoder(**SMALL, weights=tmp_path / "b.pt").build()


@pytest.fixture(scope="module")
def mask(checkpoint: Path) -> Model:
    """The U-Net of the file, explained at its mask."""
    return UNet(**SMALL, weights=checkpoint, output="mask").in_precision("float64")


def test_the_mask_is_explained_over_a_region(pair, mask):
    region = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(2))
    leaf = images(torch.float64).requires_grad_()
    scores = pair[0].forward(leaf)["mask"][:, 0] * region
    (expected,) = torch.autograd.grad(scores.sum(), leaf)
    actual = Gradient()(Batch(mask, ["a", "b"], leaf.detach(), [0, 0], region=region)).values
    assert float((actual - expected).abs().max() / expected.abs().max()) < 1e-10


@pytest.mark.parametrize("which", [0, 1], ids=["unet", "unet_encoder"])
def test_gradcam_at_the_last_layer_is_the_map_of_the_head(pair, which):
    """Behind global average pooling, Grad-CAM's weights are those of the linear layer over the count of cells."""
    model = pair[which]
    explainer = GradCam(interpolation="nearest")
    batch = Batch(model, ["a", "b"], images(torch.float64), [2, 1], layers=explainer.layers(model))
    with torch.no_grad():
        features = model.network.encoder(batch.images)[-1]
        weights = model.network.classification_head[3].weight[batch.targets]
    expected = ((weights[..., None, None] / features[0, 0].numel()) * features).sum(1, keepdim=True).relu()
    expected = expected.repeat_interleave(32, 2).repeat_interleave(32, 3)
    torch.testing.assert_close(explainer(batch).values, expected, rtol=1e-8, atol=1e-12)
    assert explainer.layers(model) == ("encoder.model.blocks.4.0.conv_pwl",)


def test_verdicts_are_about_the_explained_output_alone(pair, mask):
    """The decoder has ReLUs and an interpolation, the encoder has none."""
    for model in pair:
        assert GuidedBackprop().verdict(model).level == "approximate"
        assert "the rule is published for ReLU" in GuidedBackprop().verdict(model).reason
        assert GuidedBackprop(act_policy="relu_only").verdict(model).level == "undefined"
        assert "interpolate" not in Lrp().verdict(model).reason
    assert GuidedBackprop(act_policy="relu_only").verdict(mask).level == "approximate"
    assert "no rule exists for interpolate" in Lrp().verdict(mask).reason
    assert GradCam().verdict(mask).level == "undefined"


def test_lrp_of_a_unet_with_relus_is_exact_and_that_of_its_encoder():
    maps = []
    for kind in BOTH:
        model = kind(**RESIDUAL)
        assert {explainer.verdict(model).level for explainer in (GuidedBackprop(), Lrp(), DeepLift())} == {"exact"}
        maps.append(Lrp()(Batch(model, ["a", "b"], images(), [0, 2])).values)
    assert maps[0].any()
    torch.testing.assert_close(*maps, rtol=1e-5, atol=1e-6)


def test_targets_of_the_mask(pair, mask):
    with pytest.raises(ModelError, match=r"'mask/gaze' is no target; for the mask, set output: mask .*predicted"):
        pair[0].target("mask/gaze")
    assert class_over_region(mask, RegionTarget(**{"class": "gaze", "region": "predicted"})) == "gaze"
    with pytest.raises(ModelError, match="'mask/CHF' is no target; the model explains its mask, whose only class is"):
        mask.target("mask/CHF")
    with pytest.raises(ModelError, match="gives one logit per class for the whole image"):
        class_over_region(pair[0], RegionTarget(**{"class": "CHF", "region": "predicted"}))


def test_images_are_prepared_as_in_the_authors_code():
    image = np.array([[0, 30], [60, 120]], dtype=np.uint8)[None]
    prepared = UNet(**SMALL).prepare(Sample("a", image)).image
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(prepared[:, -1, -1], expected, rtol=1e-6)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache of the hub has the weights ``imagenet`` of mobilenet_v2; it is empty, and there is no network."""
    settings = encoders["mobilenet_v2"]["pretrained_settings"]["imagenet"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", None)
    name = "models--" + settings["repo_id"].replace("/", "--")
    folder = tmp_path / name / "snapshots" / settings["revision"]
    folder.mkdir(parents=True)
    return folder / "model.safetensors"


def test_weights_of_the_encoder_come_from_the_cache(cache):
    settings = {"size": 64, "encoder": "mobilenet_v2"}
    with pytest.raises(ModelError, match=r"'imagenet' of the encoder mobilenet_v2 are not on .* none; load"):
        UNet(**settings, encoder_weights="imagenet").build()
    trained = UNet(**settings, seed=5).network.encoder.state_dict()
    save_file(trained, cache)
    for kind in BOTH:
        network = kind(**settings, encoder_weights="imagenet").network
        assert all(torch.equal(value, trained[name]) for name, value in network.encoder.state_dict().items())
    save_file({"stem.weight": torch.zeros(1)}, cache)
    with pytest.raises(ModelError, match=r"model.safetensors do not fit the encoder mobilenet_v2 \(Error"):
        UNet(**settings, encoder_weights="imagenet").build()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "resnet19"}, "has no encoder 'resnet19'; did you mean 'resnet1.*A network of timm has tu-"),
        ({"encoder": "tu-resnet19"}, "has no encoder 'tu-resnet19'"),
        (
            {"encoder_weights": "imagenette"},
            "no weights 'imagenette' of the encoder efficientnet-b0; did you mean 'ima",
        ),
        (
            {**SMALL, "encoder_weights": "imagenet"},
            "no weights of the encoder tu-test_efficientnet by a name",
        ),
        ({"weights": "a.pt", "encoder_weights": "imagenet"}, "both name weights of the encoder; .* leave"),
        ({"size": 100}, "multiple of 32"),
        ({"classes": ["a"]}, "classes"),
        ({"classes": ["a", "a"]}, "names 'a' twice"),
        ({"output": "decoder"}, "output"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(HeatproofError, match=message):
        UNet(**settings).build()
