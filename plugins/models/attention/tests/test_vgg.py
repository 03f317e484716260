"""VGG with attention: the formulas of the paper by hand, and the network's structure."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from heatproof.errors import HeatproofError
from heatproof.testing import conforms
from heatproof_attention.vgg import AttentionVgg, LocalAttention

SMALL = (2, 2, 2, 3, 3, 3)


def small(**settings):
    return AttentionVgg(classes=("a", "b"), **{"widths": SMALL, **settings})


@conforms(small())
def test_conformance(check):
    check()


@pytest.mark.parametrize(
    ("compatibility", "weights", "sums"),
    [
        ("dp", [0.26894142, 0.73105858], [0.26894142, 0.73105858]),
        ("pc", [0.88079708, 0.11920292], [0.88079708, 0.11920292]),
    ],
)
def test_two_positions_by_hand(compatibility, weights, sums):
    """Local features (1, 0) and (0, 1), global ones (1, 2): c is (1, 2) by dp, and with u = (1, -1) (0, -2) by pc."""
    attention = LocalAttention(2, 2, compatibility).double()
    if compatibility == "pc":
        attention.compatibility.direction.weight.data = torch.tensor([1.0, -1.0]).double().reshape(1, 2, 1, 1)
    local = torch.eye(2).double().reshape(1, 2, 1, 2)
    whole = torch.tensor([1.0, 2.0]).double().reshape(1, 2, 1, 1)
    actual_weights, actual_sums = attention(local, whole)
    assert actual_weights.flatten().tolist() == pytest.approx(weights, abs=5e-9)
    assert actual_sums.flatten().tolist() == pytest.approx(sums, abs=5e-9)


@pytest.mark.parametrize("compatibility", ["dp", "pc"])
def test_weights_sum_to_one_and_equal_scores_give_the_mean(compatibility):
    attention = LocalAttention(3, 5, compatibility).double()
    rng = torch.Generator().manual_seed(0)
    local = torch.randn(2, 3, 4, 6, generator=rng).double()
    whole = torch.randn(2, 5, 1, 1, generator=rng).double()
    weights, _ = attention(local, whole)
    assert bool((weights >= 0).all())
    torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(2).double())
    assert isinstance(attention.projection, nn.Conv2d)
    projected = attention.projection(local)
    if compatibility == "pc":
        attention.compatibility.direction.weight.data.zero_()
    _, sums = attention(local, 0 * whole)
    torch.testing.assert_close(sums, projected.mean((2, 3)))


def test_the_logits_read_all_three_sums():
    """A second plain implementation from the same weights, in float64."""
    network = small(compatibility="dp").network.double()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    pool = nn.MaxPool2d(2)
    with torch.no_grad():
        locals_ = [network.block3(network.block2(network.block1(images)))]
        locals_.append(network.block4(pool(locals_[0])))
        locals_.append(network.block5(pool(locals_[1])))
        whole = network.dense(network.block6(pool(locals_[2])))[..., 0, 0]
        sums = []
        for local, attention in zip(locals_, (network.attention3, network.attention4, network.attention5)):
            features = attention.projection(local).flatten(2).mT
            weights = torch.softmax(torch.einsum("npd,nd->np", features, whole), 1)
            sums.append(torch.einsum("np,npd->nd", weights, features))
        expected = network.classifier(torch.cat(sums, 1))
        outputs = network(images)
    torch.testing.assert_close(outputs["logits"], expected, rtol=1e-12, atol=1e-12)
    assert outputs["attention"].shape == (2, 3, 32, 32)


def test_the_network_of_the_paper():
    """Two convolutions of 64 and 128, three of 256 and twice 512, two more of 512 and the one that reads them whole."""
    with torch.device("meta"):
        network = AttentionVgg(classes=tuple("abcdefghij")).random_network()
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    widths = [module.out_channels for module in convolutions if module.kernel_size == (3, 3)]
    assert widths == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 3 + [512] * 3 + [512] * 2
    assert network.dense.kernel_size == (1, 1)
    assert network.classifier.in_features == 3 * 512
    assert small(size=64).random_network().dense.kernel_size == (2, 2)


def test_random_weights_are_said_and_follow_the_seed_and_a_checkpoint_is_read(tmp_path):
    model = small(seed=3)
    state = model.network.state_dict()
    assert "all weights are random (seed 3)" in model.notices()[-1]
    assert not torch.equal(state["dense.weight"], small().network.state_dict()["dense.weight"])
    save_file(state, tmp_path / "trained.safetensors")
    trained = small(weights=tmp_path / "trained.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in trained.network.state_dict().items())
    assert trained.notices() == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 48}, "size"), ({"compatibility": "add"}, "compatibility"), ({"widths": (1, 2)}, "widths"),
        ({"classes": ("a", "a")}, "classes names 'a' twice"), ({"head": "ordinal"}, "head"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(HeatproofError, match=message):
        AttentionVgg(**{"classes": ("a", "b"), **settings})
