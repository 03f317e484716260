"""Attention U-Net: the gate by hand, and the network's structure."""

import pytest
import torch
from torch.nn import functional

from heatproof.testing import conforms
from heatproof_attention.unet import AttentionGate, AttentionUnet


@conforms(AttentionUnet(classes=("a", "b", "c"), widths=(2, 3, 3), size=16, head="sigmoid"))
def test_conformance(check):
    check()


@pytest.mark.parametrize(("gate", "expected"), [("sigmoid", 0.5), ("softmax", 1 / 24)])
def test_a_gate_without_weights_is_the_same_everywhere_on_the_grid_of_the_skip(gate, expected):
    attention = AttentionGate(3, 5, gate)
    attention.score.weight.data.zero_()
    attention.score.bias.data.zero_()
    weights = attention(torch.randn(2, 3, 4, 6), torch.randn(2, 5, 2, 3))
    assert weights.shape == (2, 1, 4, 6)
    assert weights.flatten().tolist() == pytest.approx([expected] * 48)


def test_a_gate_by_its_formula():
    """σ(φ(ReLU(W l + U g + b)) + c) at each position, in float64."""
    attention = AttentionGate(4, 3, "sigmoid").double()
    rng = torch.Generator().manual_seed(0)
    local = torch.randn(1, 4, 6, 6, generator=rng).double()
    below = torch.randn(1, 3, 3, 3, generator=rng).double()
    signal = functional.interpolate(below, (6, 6), mode="bilinear", align_corners=False)
    with torch.no_grad():
        hidden = torch.einsum("oi,nihw->nohw", attention.local.weight[..., 0, 0], local)
        hidden = hidden + torch.einsum("oi,nihw->nohw", attention.below.weight[..., 0, 0], signal)
        hidden = torch.relu(hidden + attention.below.bias[:, None, None])
        score = torch.einsum("oi,nihw->nohw", attention.score.weight[..., 0, 0], hidden) + attention.score.bias
        torch.testing.assert_close(attention(local, below), torch.sigmoid(score), rtol=1e-12, atol=1e-12)


def test_outputs_lie_on_the_grid_of_the_image_also_of_odd_size():
    model = AttentionUnet(classes=("a", "b"), widths=(2, 3, 3, 4), size=23, channels="luminance")
    images = torch.rand(2, 1, 23, 23, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = model.forward(images)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "logits": (2, 2), "mask": (2, 1, 23, 23), "attention": (2, 2, 23, 23),
    }  # fmt: skip
    assert model.attention_names == ("level2", "level3")
    assert model.last_layer == "gated.0"


def test_closed_gates_leave_the_skips_out_of_the_class():
    """With every gate at 0 the logits are those of the deepest features alone."""
    model = AttentionUnet(classes=("a", "b"), widths=(2, 3, 4), size=16)
    network = model.network
    network.gates[0].score.weight.data.zero_()
    network.gates[0].score.bias.data.fill_(-1e4)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = images
        for level, block in enumerate(network.encoder):
            values = block(functional.max_pool2d(values, 2) if level else values)
        weights = network.classifier.weight[:, -4:]
        expected = values.mean((2, 3)) @ weights.T + network.classifier.bias
        torch.testing.assert_close(network(images)["logits"], expected)
