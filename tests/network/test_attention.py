"""Attention that a network computes in one function is observed; outputs and gradients stay those of the network."""

import pytest
import timm
import torch
from timm.layers import set_fused_attn
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VisionTransformer

from heatproof.network.attention import is_spelled, masked
from heatproof.network.canonical import canonical
from heatproof.network.tracing import optional
from heatproof.network.views import View, view
from heatproof.testing.toys import drawn


class Encoder(nn.Module):
    """Patches, an encoder of torch, and a linear layer of the mean over tokens."""

    def __init__(self, norm_first: bool = False, batch_first: bool = True, norm: bool = False) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        layer = nn.TransformerEncoderLayer(12, 3, 24, norm_first=norm_first, batch_first=batch_first, activation="gelu")
        self.encoder = nn.TransformerEncoder(
            layer, 2, norm=nn.LayerNorm(12) if norm else None, enable_nested_tensor=False
        )
        self.head = nn.Linear(12, 3)
        self.batch_first = batch_first

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        if self.batch_first:
            return self.head(self.encoder(tokens).mean(1))
        return self.head(self.encoder(tokens.transpose(0, 1)).mean(0))


class Masked(nn.Module):
    """One attention by torch's function, with a mask, and one whose key has another width than its query."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.register_buffer("mask", mask)
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)[:, None]
        tokens = functional.scaled_dot_product_attention(tokens, tokens, tokens, self.mask, scale=0.7)
        return self.head(tokens[:, 0].mean(1))


def small(name: str, **settings: object) -> nn.Module:
    """A small transformer of timm for images of 32 pixels."""
    return timm.create_model(
        name, img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=3, num_classes=3, **settings
    )


NETWORKS = {
    "timm": lambda: small("vit_tiny_patch16_224"),
    "timm with positions": lambda: small("beit_base_patch16_224", use_rel_pos_bias=True),
    "torchvision": lambda: VisionTransformer(32, 8, 2, 3, 12, 24, num_classes=3),
    "encoder": Encoder,
    "norm first": lambda: Encoder(norm_first=True, norm=True),
    "tokens first": lambda: Encoder(batch_first=False),
    "added mask": lambda: Masked(torch.linspace(-1, 1, 256).reshape(16, 16)),
    "mask of bool": lambda: Masked(torch.ones(16, 16).tril().bool()),
}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def built(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return drawn(NETWORKS[name](), 0).to(dtype).eval()


def images(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_those_of_the_network(name, dtype):
    network = built(name, dtype)
    inputs = images(dtype).requires_grad_()
    copy = view(network, ("logits",), inputs.detach(), {}, folded=True)
    assert isinstance(copy, View)
    with torch.no_grad():  # the fast paths run without gradients only
        fast = network(inputs)
    logits = network(inputs)
    outputs, weights = copy(inputs, {}, [layer for layer in copy.layers if "softmax" in layer])
    expected, actual = (torch.autograd.grad(value.square().sum(), inputs)[0] for value in (logits, outputs["logits"]))
    for first, second in ((fast, outputs["logits"]), (logits, outputs["logits"]), (expected, actual)):
        assert bool((first - second).abs().max() <= TOLERANCE[dtype] * first.abs().max())
    assert len(weights) == (1 if isinstance(network, Masked) else 2)
    for value in weights.values():
        assert torch.allclose(value.sum(-1), torch.ones_like(value[..., 0]))


def test_the_weights_are_those_of_the_layer_of_torch():
    network = built("torchvision")
    records = []
    block = network.encoder.layers[1].self_attention
    block.register_forward_pre_hook(lambda module, values: records.append(values[0]))
    with torch.no_grad():
        network(images())
        _, expected = block(records[0], records[0], records[0], average_attn_weights=False)
    module = canonical(network)
    weights = View(module, ("logits",))(images(), {}, ["softmax_1"])[1]["softmax_1"]
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-14)


def test_the_weights_are_those_of_timm_without_its_fused_function():
    network = built("timm")
    weights = View(canonical(network, optional(network)), ("logits",))(images(), {}, ["softmax"])[1]["softmax"]
    set_fused_attn(False)
    try:
        plain = built("timm")
    finally:
        set_fused_attn(True)
    records = []
    plain.blocks[0].attn.attn_drop.register_forward_hook(lambda module, values, output: records.append(output))
    with torch.no_grad():
        plain(images())
    torch.testing.assert_close(weights, records[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "settings", [{"dropout_p": 0.1}, {"is_causal": True}, {"enable_gqa": True}], ids=["dropout", "causal", "shared"]
)
def test_other_calls_of_the_function_stay_one_node(settings):
    assert is_spelled(0, 0, 0)
    assert not is_spelled(0, 0, 0, **settings)


def test_masks():
    scores = torch.tensor([[1.0, 2.0]])
    assert masked(scores, torch.tensor([[0.5, -1.0]])).tolist() == [[1.5, 1.0]]
    assert masked(scores, torch.tensor([[True, False]])).tolist() == [[1.0, -float("inf")]]
