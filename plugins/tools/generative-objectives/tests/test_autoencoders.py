import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.errors import ModelError
from heatproof_generative_objectives.adversarial import AdversarialAutoencoder, prior
from heatproof_generative_objectives.autoencoder import Autoencoder
from heatproof_generative_objectives.vae import VariationalAutoencoder, divergence


class Codes(nn.Module):
    """An autoencoder with a latent code of two numbers."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 2))
        self.decoder = nn.Linear(2, 16)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        latent = self.encoder(images)
        return {"reconstruction": self.decoder(latent).reshape(-1, 1, 4, 4), "latent": latent}


@pytest.fixture
def codes(model_of):
    return model_of(Codes(), "reconstruction", "latent")


def test_the_reconstruction_error_is_the_mean_square(codes, samples, step):
    record = step(codes, samples)
    gaps = record.outputs["reconstruction"].detach().numpy() - np.stack([sample.image for sample in samples])
    objective = Autoencoder()
    objective.require(codes)
    assert objective.losses(record)["loss"].item() == pytest.approx((gaps**2).mean(), rel=1e-12)
    assert not objective.labelled
    perfect = step(codes, samples, reconstruction=record.batch.images)
    assert objective.losses(perfect)["loss"].item() == 0
    with pytest.raises(ModelError, match="needs the output 'image'"):
        Autoencoder(output="image").require(codes)
    with pytest.raises(ModelError, match=r"has shape \(3, 1, 4, 2\); a reconstruction has .* \(3, 1, 4, 4\)"):
        objective.losses(step(codes, samples, reconstruction=record.batch.images[..., :2]))


def test_the_divergence_of_normal_distributions():
    """In closed form: 1 for means of 1 and -1; (1 - ln 2) / 2 per dimension for variance 2; 0 for standard normals."""
    zeros = torch.zeros(1, 2, dtype=torch.float64)
    assert divergence(torch.tensor([[1.0, -1.0]], dtype=torch.float64), zeros).item() == 1
    assert divergence(zeros, zeros + math.log(2)).item() / 2 == pytest.approx(0.15342641, abs=5e-9)
    assert divergence(zeros, zeros).item() == 0
    rng = np.random.default_rng(0)
    mean, log_variance = torch.from_numpy(rng.normal(size=(2, 5, 3)))
    normal = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert divergence(mean, log_variance).numpy() == pytest.approx(expected.numpy(), rel=1e-12)
    assert bool((expected > 0).all())


def test_the_loss_of_a_vae_and_its_default_weight(codes, samples, step):
    """2 / D is the weight with which it is proportional to the evidence lower bound of a decoder of variance 1."""
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples])
    moments = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 2)))
    outputs = {"reconstruction": images + 0.5, "mean": moments[0], "log_variance": moments[1]}
    record = step(codes, samples, **outputs)
    kl = divergence(*moments).mean().item()
    losses = VariationalAutoencoder(beta=3).losses(record)
    assert losses["loss"].item() == pytest.approx(0.25 + 3 * kl, rel=1e-12)
    assert losses["divergence"].item() == pytest.approx(kl, rel=1e-12)
    bound = 0.5 * (0.5**2 * 16) + kl
    assert VariationalAutoencoder().losses(record)["loss"].item() == pytest.approx(2 / 16 * bound, rel=1e-12)
    with pytest.raises(ModelError, match="needs the output 'mean'"):
        VariationalAutoencoder().require(codes)
    with pytest.raises(ModelError, match=r"have shapes \(3, 2\) and \(3, 1\)"):
        VariationalAutoencoder().losses(step(codes, samples, **outputs | {"log_variance": moments[1][:, :1]}))


@pytest.fixture
def adversarial(codes):
    objective = AdversarialAutoencoder(width=5, weight=0.3)
    objective.require(codes)
    torch.manual_seed(0)
    objective.modules(codes).double()
    return objective


def test_one_backward_pass_gives_each_player_the_gradient_of_its_loss_alone(codes, adversarial, samples, step):
    """The usual two steps, by hand: the discriminator on constant codes, then the encoder against a constant one."""
    discriminator = adversarial.discriminator
    record = step(codes, samples)
    losses = adversarial.losses(record)
    losses["loss"].backward()
    latent = record.outputs["latent"].detach()
    answers = discriminator(torch.cat([prior(record, latent), latent]))
    truth = torch.tensor([1.0] * 3 + [0.0] * 3, dtype=torch.float64)[:, None]
    told_apart = functional.binary_cross_entropy_with_logits(answers, truth)
    expected = torch.autograd.grad(told_apart, list(discriminator.parameters()))
    assert losses["discriminator"].item() == pytest.approx(told_apart.item(), rel=1e-12)
    for weight, gradient in zip(discriminator.parameters(), expected):
        assert weight.grad.numpy() == pytest.approx(gradient.numpy(), rel=1e-10, abs=1e-14)
    fresh = step(codes, samples)
    error = functional.mse_loss(fresh.outputs["reconstruction"], fresh.batch.images)
    fooled = functional.softplus(-discriminator(fresh.outputs["latent"])).mean()
    expected = torch.autograd.grad(error + 0.3 * fooled, list(codes.network.parameters()))
    for weight, gradient in zip(codes.network.parameters(), expected):
        assert weight.grad.numpy() == pytest.approx(gradient.numpy(), rel=1e-10, abs=1e-14)
    assert losses["loss"].item() == pytest.approx((error + 0.3 * fooled).item(), rel=1e-12)


def test_both_players_get_better_at_their_own_loss(codes, adversarial, samples, step):
    for name, players in (("discriminator", adversarial.discriminator), ("encoder", codes.network.encoder)):
        before = adversarial.losses(step(codes, samples))
        gradients = torch.autograd.grad(before[name], list(players.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(players.parameters(), gradients):
                weight -= 0.01 * gradient
        assert adversarial.losses(step(codes, samples))[name] < before[name]


def test_draws_of_the_prior_depend_on_seed_and_sample_only(codes, samples, step):
    zeros = torch.zeros(3, 2, dtype=torch.float64)
    record = step(codes, samples)
    state = torch.get_rng_state()
    draws = prior(record, zeros)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(prior(step(codes, samples[1:2]), zeros[:1]), draws[1:2])
    assert len(set(draws.flatten().tolist())) == 6
    later = replace(record, batch=record.batch.at(seed=1))
    assert not set(prior(later, zeros).flatten().tolist()) & set(draws.flatten().tolist())
    many = [prior(replace(record, batch=record.batch.at(seed=seed)), zeros) for seed in range(500)]
    assert torch.stack(many).mean().item() == pytest.approx(0, abs=0.07)
    assert torch.stack(many).std().item() == pytest.approx(1, abs=0.05)


def test_the_discriminator_fits_the_model_or_is_refused(codes, adversarial, samples, step, model_of):
    assert adversarial.discriminator[1].in_features == 2
    with pytest.raises(ModelError, match="needs the output 'latent'"):
        AdversarialAutoencoder().require(model_of(nn.Conv2d(1, 1, 1), "reconstruction"))
    with pytest.raises(ModelError, match="no discriminator yet; call modules"):
        AdversarialAutoencoder().losses(step(codes, samples))
