"""Layers, last layer and tokens of transformers, and the grid over the image that their tokens become."""

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from heatproof.batch import Batch
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.passes import activations
from heatproof.testing.toys import drawn

CLASSES = ("a", "b", "c")


def small(name: str, **settings: object) -> nn.Module:
    """A small transformer of timm."""
    usual = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 3}
    return timm.create_model(name, **usual | settings)


def monai_vit() -> nn.Module:
    """A small vision transformer of MONAI."""
    pytest.importorskip("einops", reason="MONAI's transformers need einops")
    nets = pytest.importorskip("monai.networks.nets")
    return nets.ViT(
        3, (32, 32), (8, 8), hidden_size=12, mlp_dim=24, num_layers=2, num_heads=3, classification=True, num_classes=3,
        spatial_dims=2, post_activation=None,
    )  # fmt: skip


class Shuffled(nn.Module):
    """Tokens in another order than the cells of the image."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.register_buffer("order", torch.tensor(order))
        self.block = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.block(self.patches(images).flatten(2).transpose(1, 2)[:, self.order]).mean(1))


class Causal(nn.Module):
    """A layer of torch with a mask, which is not spelled out."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.register_buffer("mask", torch.ones(16, 16).triu(1).bool())
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens, attn_mask=self.mask)[0].mean(1))


BLOCKS = ("patch_embed.proj", "blocks.0", "blocks.1")
TRANSFORMERS = {
    "vit": (lambda: small("vit_tiny_patch16_224"), BLOCKS, "blocks.1.norm1", ((4, 4), 1, (0,))),
    "deit": (lambda: small("deit_tiny_patch16_224"), BLOCKS, "blocks.1.norm1", ((4, 4), 1, (0,))),
    "distilled": (
        lambda: small("deit_tiny_distilled_patch16_224"), BLOCKS, "blocks.1.norm1", ((4, 4), 2, (0, 1)),
    ),
    "registers": (lambda: small("vit_small_patch14_reg4_dinov2"), BLOCKS, "blocks.1.norm1", ((4, 4), 5, (0,))),
    "averaged registers": (
        lambda: small("vit_medium_patch16_reg4_gap_256"), BLOCKS, "blocks", ((4, 4), 4, tuple(range(4, 20))),
    ),
    "averaged": (
        lambda: small("vit_tiny_patch16_224", class_token=False, global_pool="avg"), BLOCKS, "blocks",
        ((4, 4), 0, tuple(range(16))),
    ),
    "pooled by attention": (
        lambda: small("vit_base_patch16_siglip_224"), BLOCKS, "norm", ((4, 4), 0, ()),
    ),
    "wide": (
        lambda: small("vit_tiny_patch16_224", img_size=(32, 48)), BLOCKS, "blocks.1.norm1", ((4, 6), 1, (0,)),
    ),
    "patches that are no squares": (
        lambda: small("vit_tiny_patch16_224", patch_size=(8, 4)), BLOCKS, "blocks.1.norm1", ((4, 8), 1, (0,)),
    ),
    "torchvision": (
        lambda: VisionTransformer(32, 8, 2, 3, 12, 24, num_classes=3),
        ("conv_proj", "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"),
        "encoder.layers.encoder_layer_1.ln_1", ((4, 4), 1, (0,)),
    ),
    "MONAI": (
        monai_vit, ("patch_embedding.patch_embeddings", "blocks.0", "blocks.1"), "blocks.1.norm1", ((4, 4), 1, (0,)),
    ),
    "order of cells": (
        lambda: Shuffled([*range(16)]), ("patches", "block"), "block", ((4, 4), 0, tuple(range(16))),
    ),
    "swin of timm": (
        lambda: timm.create_model(
            "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=12, depths=(1, 1), num_heads=(2, 2),
            num_classes=3,
        ),
        ("patch_embed.proj", "layers.0.blocks.0", "layers.1.blocks.0"), "norm", None,
    ),
    "swin of torchvision": (
        lambda: SwinTransformer([4, 4], 12, [1, 1], [2, 2], [4, 4], num_classes=3),
        ("features.0.0", "features.1.0", "features.3.0"), "norm", None,
    ),
    "convnext of timm": (
        lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 8, 8, 16), num_classes=3),
        ("stem.0", "stages.0.blocks.0.conv_dw", "stages.0.blocks.0.mlp.fc1", "stages.0.blocks.0.mlp.fc2"), "stages",
        None,
    ),
    "convnext of torchvision": (
        lambda: ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=3),
        ("features.0.0", "features.1.0.block.0", "features.2.1", "features.3.0.block.0"), "features", None,
    ),
}  # fmt: skip
SIZES = {"wide": (32, 48), "convnext of timm": (64, 64)}


def model_of(build: object, size: object = 32) -> Model:
    torch.manual_seed(0)
    return Model.of(build().double().eval(), CLASSES, Resize(size=size))


SLOW = ("MONAI", "convnext of timm", "averaged registers", "registers", "deit")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TRANSFORMERS]
)
def test_layers_and_tokens(name):
    """Also with weights that are zero, as torchvision initialises the head."""
    build, layers, last, tokens = TRANSFORMERS[name]
    model = model_of(build, SIZES.get(name, 32))
    actual = model.outline.tokens
    assert not model.outline.reason
    assert model.layers()[: len(layers)] == layers
    assert model.last_layer == last
    assert (None if actual is None else (actual.grid, actual.prefix, actual.read)) == tokens


@pytest.mark.parametrize(
    "name", ["wide", "patches that are no squares", pytest.param("averaged registers", marks=pytest.mark.slow)]
)
def test_tokens_become_the_grid_of_the_image(name):
    build, _, last, ((rows, columns), prefix, _) = TRANSFORMERS[name]
    size = SIZES.get(name, (32, 32))
    model = model_of(build, size)
    images = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    layer = last if last != "blocks" else "blocks.1"
    values = activations(Batch(model, ["0", "1"], images, [0, 0], layers=(layer,)))[layer]
    tokens = []
    model.network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: tokens.append(output))
    with torch.no_grad():
        model.network(images)
    for row in range(rows):
        for column in range(columns):
            expected = tokens[0][:, prefix + row * columns + column]
            torch.testing.assert_close(values[:, :, row, column], expected, rtol=0, atol=1e-12)
    assert values.shape[2:] == (rows, columns)


@pytest.mark.parametrize("order", [[*range(15, -1, -1)], [1, 0, *range(2, 16)]], ids=["reversed", "swapped"])
def test_tokens_in_another_order_are_no_grid(order):
    model = model_of(lambda: drawn(Shuffled(order), 0))
    assert model.outline.tokens is None
    assert "values that are no grid" in model.outline.unpooled


def test_a_convolutional_network_has_no_attention_and_a_transformer_has():
    assert "self_attention" in model_of(TRANSFORMERS["vit"][0]).capabilities
    hidden = model_of(TRANSFORMERS["swin of torchvision"][0])
    assert set(hidden.outline.attentions.values()) == {()}
    assert "self_attention" not in hidden.capabilities
    assert not model_of(TRANSFORMERS["convnext of torchvision"][0]).outline.attentions


def test_a_masked_layer_of_torch_stays_one_module_that_hides_its_weights():
    model = model_of(lambda: drawn(Causal(), 0))
    assert dict(model.outline.attentions) == {"attention": ()}
    assert not model.outline.reason
    assert "after 'patches' it computes on several values that are no grid" in model.outline.unpooled
