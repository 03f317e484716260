"""Class activation maps of transformers agree with pytorch-grad-cam, which is told the grid of their tokens."""

from collections.abc import Callable

import pytest
import timm
import torch
from pytorch_grad_cam import GradCAM, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from heatproof.batch import Batch
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.testing.toys import drawn
from heatproof_cam.gradcam import GradCam
from heatproof_cam.hirescam import HiResCam
from heatproof_cam.layercam import LayerCam

PAIRS = [(GradCam, GradCAM), (HiResCam, HiResCAM), (LayerCam, LayerCAM)]


def small(name: str, **settings: object) -> nn.Module:
    """A small transformer of timm."""
    usual = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 3}
    return timm.create_model(name, **usual | settings)


def from_tokens(prefix: int, rows: int) -> Callable[[Tensor], Tensor]:
    """The transform of pytorch-grad-cam's documentation: tokens without the first ones, as a grid of some rows."""
    return lambda values: values[:, prefix:].reshape(len(values), rows, -1, values.shape[2]).permute(0, 3, 1, 2)


def channels_last(values: Tensor) -> Tensor:
    return values.permute(0, 3, 1, 2)


def same(values: Tensor) -> Tensor:
    return values


TRANSFORMERS = {
    "vit": (lambda: small("vit_tiny_patch16_224"), "blocks.1.norm1", from_tokens(1, 4)),
    "distilled": (lambda: small("deit_tiny_distilled_patch16_224"), "blocks.1.norm1", from_tokens(2, 4)),
    "registers": (lambda: small("vit_small_patch14_reg4_dinov2"), "blocks.1.norm1", from_tokens(5, 4)),
    "averaged": (
        lambda: small("vit_tiny_patch16_224", class_token=False, global_pool="avg"), "blocks.1", from_tokens(0, 4),
    ),
    "wide": (lambda: small("vit_tiny_patch16_224", img_size=(32, 48)), "blocks.1.norm1", from_tokens(1, 4)),
    "torchvision": (
        lambda: VisionTransformer(32, 8, 2, 3, 12, 24, num_classes=3), "encoder.layers.encoder_layer_1.ln_1",
        from_tokens(1, 4),
    ),
    "swin of timm": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=12, depths=(1, 1), num_heads=(2, 2),
            num_classes=3,
        ),
        "norm", channels_last,
    ),
    "swin of torchvision": (
        lambda: SwinTransformer([4, 4], 12, [1, 1], [2, 2], [4, 4], num_classes=3), "norm", channels_last,
    ),
    "convnext of torchvision": (
        lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=3), "features", same,
    ),
    "convnext of timm": (
        lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 8, 16), num_classes=3),
        "stages", same,
    ),
}  # fmt: skip
SIZES = {"wide": (32, 48), "convnext of timm": (64, 64)}


QUICK = ("vit", "torchvision", "averaged")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TRANSFORMERS]
)
def test_pytorch_grad_cam_agrees_at_the_last_layer(name):
    build, last, transform = TRANSFORMERS[name]
    size = SIZES.get(name, (32, 32))
    torch.manual_seed(0)
    network = drawn(build(), 0).double().eval()
    images = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    model = Model.of(network, ("a", "b", "c"), Resize(size=size))
    batch = Batch(model, ["0", "1"], images, [0, 2], layers=(model.last_layer,))
    layer = gradients(batch).layers[model.last_layer]
    for explainer, reference in PAIRS:
        with reference(network, [network.get_submodule(last)], reshape_transform=transform) as cam:
            cam(images, [ClassifierOutputTarget(target) for target in (0, 2)])
            hooks = cam.activations_and_grads
            heat = cam.get_cam_image(None, None, None, hooks.activations[0].numpy(), hooks.gradients[0].numpy(), False)
        expected = torch.from_numpy(heat)[:, None].relu()
        actual = explainer(relu=True).heat(layer)
        assert float((actual - expected).abs().max()) <= 1e-10 * float(expected.max())
        assert bool(expected.flatten(1).amax(1).max() > 0)
