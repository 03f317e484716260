"""Autoencoders: their scores by hand, the divergence of the variational one, and their structure."""

import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from heatproof.errors import HeatproofError, ModelError
from heatproof.testing import conforms, toys
from heatproof_autoencoder.autoencoder import AdversarialAutoencoder, Autoencoder
from heatproof_autoencoder.reconstructing import AnomalyScore
from heatproof_autoencoder.vae import Vae, divergence

SMALL = {"size": 8, "widths": (2, 3), "latent": 2}


def images(count=2, size=8, channels=3):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


@conforms(Autoencoder(**SMALL), Vae(**SMALL, error="squared", threshold=0.1))
def test_conformance(check):
    check()


@pytest.mark.parametrize(("error", "threshold", "expected"), [("absolute", 0.0, 1.25), ("squared", 0.5, 1.75)])
def test_the_score_by_hand(error, threshold, expected):
    """The mean of errors 1, -2, 0 and 2 is 1.25 if they are absolute, 2.25 if they are squared."""
    original = torch.tensor([2.0, 0.0, 1.0, 3.0]).reshape(1, 1, 2, 2)
    reconstruction = torch.tensor([1.0, 2.0, 1.0, 1.0]).reshape(1, 1, 2, 2)
    assert AnomalyScore(error, threshold)(original, reconstruction).tolist() == [[expected]]


@pytest.mark.parametrize("kind", [Autoencoder, AdversarialAutoencoder, Vae])
def test_outputs_belong_together(kind):
    model = kind(**SMALL, threshold=0.125)
    with torch.no_grad():
        outputs = model.forward(images())
        again = model.forward(images())
    assert all(torch.equal(value, again[name]) for name, value in outputs.items())
    assert outputs["reconstruction"].shape == (2, 3, 8, 8)
    expected = (images() - outputs["reconstruction"]).abs().mean((1, 2, 3)) - 0.125
    torch.testing.assert_close(outputs["logits"][:, 0], expected)
    latent = outputs.get("latent", outputs.get("mean"))
    torch.testing.assert_close(model.network.decoder(latent), outputs["reconstruction"])


@pytest.mark.parametrize(
    ("mean", "log_variance", "expected"),
    [
        ([1.0, -1.0], [0.0, 0.0], 1.0), ([0.0, 0.0], [math.log(2)] * 2, 2 * 0.15342641), ([0.0] * 3, [0.0] * 3, 0.0),
    ],
)  # fmt: skip
def test_the_divergence_by_hand(mean, log_variance, expected):
    actual = divergence(torch.tensor([mean]).double(), torch.tensor([log_variance]).double())
    assert actual.tolist() == [pytest.approx(expected, abs=1e-8)]


def test_the_divergence_of_torch_is_the_same_and_never_negative():
    rng = torch.Generator().manual_seed(0)
    mean = torch.randn(50, 4, generator=rng).double()
    log_variance = torch.cat([torch.randn(49, 4, generator=rng), 1e-9 * torch.ones(1, 4)]).double()
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    standard = torch.distributions.Normal(torch.zeros(50, 4).double(), 1.0)
    expected = torch.distributions.kl_divergence(normal, standard).sum(1)
    actual = divergence(mean, log_variance)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    assert bool((divergence(0 * mean, log_variance) >= 0).all())


def test_a_vae_draws_its_latent_values_in_training_only():
    """Latent values in training have the mean and the standard deviation that the encoder gives, over many draws."""
    network = Vae(**SMALL).network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    network.log_variance.weight.data.zero_()
    network.log_variance.bias.data.fill_(math.log(0.25))
    latents = []
    handle = network.decoder.register_forward_pre_hook(lambda module, arguments: latents.append(arguments[0]))
    network.train()
    with torch.no_grad():
        torch.manual_seed(0)
        outputs = network(images(1).expand(4000, -1, -1, -1))
    handle.remove()
    drawn = latents[0]
    torch.testing.assert_close(drawn.mean(0), outputs["mean"][0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.full((2,), 0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(outputs["divergence"], divergence(outputs["mean"], outputs["log_variance"]))


def test_the_decision_is_by_the_threshold():
    model = Autoencoder(**SMALL, threshold=0.2, classes=("healthy", "ill"))
    assert [model.read(torch.tensor([score - 0.2]).numpy()).decision for score in (0.1, 0.3)] == [0, 1]
    assert model.classes == ("healthy", "ill")


def test_the_encoder_halves_the_grid_and_the_decoder_doubles_it():
    network = Vae(size=24, channels="luminance", widths=(4, 6, 8), latent=5).network
    assert [module.out_channels for module in network.encoder if isinstance(module, nn.Conv2d)] == [4, 6, 8]
    assert [module.out_channels for module in network.decoder if isinstance(module, nn.Conv2d)] == [6, 4, 4, 1]
    assert network.mean.in_features == 8 * 3 * 3
    with torch.no_grad():
        assert network(images(2, 24, 1))["reconstruction"].shape == (2, 1, 24, 24)


def test_the_seed_decides_random_weights_which_are_said_and_a_checkpoint_is_read(tmp_path):
    model = Vae(**SMALL, seed=3)
    state = model.network.state_dict()
    assert "all weights are random (seed 3)" in model.notices()[-1]
    assert not torch.equal(state["mean.weight"], Vae(**SMALL).network.state_dict()["mean.weight"])
    save_file(state, tmp_path / "trained.safetensors")
    trained = Vae(**SMALL, weights=tmp_path / "trained.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in trained.network.state_dict().items())
    assert trained.notices() == []
    with pytest.raises(ModelError, match="does not fit the network"):
        Autoencoder(**SMALL, weights=tmp_path / "trained.safetensors").build()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 12}, "size 12 is no multiple of 8.*each of the 3 widths halves it"), ({"latent": 0}, "latent"),
        ({"classes": ("a", "a")}, "classes names 'a' twice"), ({"error": "cubed"}, "error"), ({"widths": ()}, "widths"),
        ({"threshold": -1}, "threshold"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(HeatproofError, match=message):
        Autoencoder(**settings)


@pytest.mark.slow
def test_four_images_can_be_learned_by_heart():
    """Dark images with two bright blobs, at which a network without BatchNorm ends at a black one."""
    model = Autoencoder(size=16, widths=(8, 16), latent=32)
    network = model.network.train()
    blobs = toys.Blobs(count=4)
    four = torch.stack([torch.from_numpy(model.prepare(blobs.load(id)).image) for id in blobs.ids()])
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(150):
        loss = (network(four)["reconstruction"] - four).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert float((network.eval()(four)["reconstruction"] - four).square().mean()) < 1e-3
