"""Checks Score-CAM, Ablation-CAM and Eigen-CAM against plain loops, closed forms and pytorch-grad-cam."""

import sys
from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import pytest
import torch
from pytorch_grad_cam import AblationCAM, EigenCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional

from heatproof.batch import Batch, Budget
from heatproof.errors import ModelError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import activations
from heatproof.records import Sample
from heatproof.testing import conforms, toys
from heatproof_cam.ablationcam import AblationCam
from heatproof_cam.channels import channels
from heatproof_cam.eigencam import EigenCam, principal
from heatproof_cam.scorecam import ScoreCam, channel_masks

TARGETS = [2, 0, 1]
SIZE = (12, 8)


class Skips(nn.Module):
    """Convolutions with a skip connection, sizes that are read off the image, and named activations."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.first_act = activation()
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.second_act = activation()
        self.third = nn.Conv2d(6, 8, 3, stride=2)
        self.third_act = activation()
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first_act(self.first(images))
        second = self.second_act(self.second(first)) + first
        third = self.third_act(self.third(second))
        return self.head(third.view(images.size(0), 8, -1).mean(2))


class Gained(Skips):
    """A network that scales its features by a second input."""

    def forward(self, images: Tensor, gain: Tensor) -> Tensor:
        return super().forward(images * gain[:, None, None, None])


class Tokens(nn.Module):
    """Patches of 4 pixels as tokens behind a class token, which alone is read at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 5, 4, stride=4)
        self.first = nn.Parameter(torch.zeros(1, 1, 5))
        self.norm = nn.LayerNorm(5)
        self.mix = nn.Linear(7, 7)
        self.head = nn.Linear(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat([self.first.expand(images.shape[0], -1, -1), tokens], 1))
        return self.head((tokens + self.mix(tokens.transpose(1, 2)).transpose(1, 2))[:, 0])


def random_images(count: int = 3, space: tuple[int, ...] = SIZE) -> Tensor:
    return torch.randn(count, 3, *space, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def drawn(network: nn.Module) -> nn.Module:
    return toys.drawn(network, 0).double().eval()


@cache
def model_of(network: Callable[..., nn.Module], *arguments: type[nn.Module]) -> Model:
    """The model of a network with random weights, which several tests share."""
    return Model.of(drawn(network(*arguments)), map(str, range(3)))


def batch_of(explainer: Explainer, model: Model, images: Tensor, **changes: object) -> Batch:
    ids = [str(index) for index in range(len(images))]
    return Batch(model, ids, images, TARGETS[: len(images)], layers=explainer.layers(model), **changes)


def gap(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def upsampled(heat: Tensor, space: tuple[int, ...] = SIZE) -> Tensor:
    return functional.interpolate(heat, size=space, mode="bilinear", align_corners=False)


@torch.no_grad()
def observed(network: nn.Module, module: str, images: Tensor, change: Callable[[Tensor], Tensor | None]) -> Tensor:
    """The outputs of a network in which a hook may change the output of a module."""
    handle = network.get_submodule(module).register_forward_hook(lambda module, arguments, output: change(output))
    try:
        return network(images)
    finally:
        handle.remove()


def activation_of(network: nn.Module, module: str, images: Tensor) -> Tensor:
    values = []
    observed(network, module, images, lambda output: values.append(output))
    return values[0]


@conforms(ScoreCam(), AblationCam())
def test_conformance(check):
    check()


@pytest.mark.slow
@conforms(EigenCam())
def test_conformance_of_eigencam(check):
    check()


def plain_score_weights(network: nn.Module, images: Tensor, activation: Tensor) -> Tensor:
    """One forward per channel, as Wang et al. 2020 write it."""
    weights = torch.zeros(activation.shape[:2], dtype=torch.float64)
    for row, target in enumerate(TARGETS[: len(images)]):
        for channel in range(activation.shape[1]):
            mask = upsampled(activation[row, channel][None, None])
            if mask.max() > mask.min():
                mask = (mask - mask.min()) / (mask.max() - mask.min())
            else:
                mask = torch.zeros_like(mask)
            weights[row, channel] = network(images[row][None] * mask)[0, target].detach()
    return weights.exp() / weights.exp().sum(1, keepdim=True)


def plain_ablation_weights(network: nn.Module, module: str, images: Tensor, activation: Tensor) -> Tensor:
    """One forward per channel with the channel set to zero by a hook, as Desai and Ramaswamy 2020, times the score."""
    weights = torch.zeros(activation.shape[:2], dtype=torch.float64)
    for row, target in enumerate(TARGETS[: len(images)]):
        for channel in range(activation.shape[1]):

            def without(output: Tensor, channel: int = channel) -> Tensor:
                return torch.cat([output[:, :channel], 0 * output[:, channel, None], output[:, channel + 1 :]], 1)

            single = images[row][None]
            scores = [observed(network, module, single, change)[0, target] for change in (lambda output: None, without)]
            weights[row, channel] = scores[0] - scores[1]
    return weights


def weighted(weights: Tensor, activation: Tensor) -> Tensor:
    return (weights[..., None, None] * activation).sum(1, keepdim=True)


@pytest.mark.parametrize("kind", [ScoreCam, AblationCam])
@pytest.mark.parametrize(("activation", "relu"), [(nn.ReLU, True), (nn.SiLU, False)])
@pytest.mark.parametrize("layer", ["first", "third"])
def test_a_plain_loop_over_channels_agrees(kind, relu, activation, layer):
    model = model_of(Skips, activation)
    network = model.network
    images = random_images()
    values = activation_of(network, f"{layer}_act", images)
    weights = {
        ScoreCam: partial(plain_score_weights, network),
        AblationCam: partial(plain_ablation_weights, network, f"{layer}_act"),
    }[kind](images, values)
    heat = weighted(weights, values)
    explainer = kind(layer=layer, relu=relu)
    expected = upsampled(heat.relu() if relu else heat)
    assert gap(explainer(batch_of(explainer, model, images)).values, expected) <= 1e-9


@pytest.mark.parametrize("layer", ["first", "third"])
def test_pytorch_grad_cam_has_the_weights_of_scorecam(layer, monkeypatch):
    """It keeps scores in float32, and aligns the corners of masks, which is turned off here."""
    monkeypatch.setattr(
        torch.nn, "UpsamplingBilinear2d", lambda size: nn.Upsample(size, mode="bilinear", align_corners=False)
    )
    model = model_of(Skips, nn.ReLU)
    network = model.network
    images = random_images()
    values = activation_of(network, f"{layer}_act", images)
    targets = [ClassifierOutputTarget(target) for target in TARGETS]
    with ScoreCAM(network, [network.get_submodule(f"{layer}_act")]) as cam:
        weights = cam.get_cam_weights(images, None, targets, values.numpy(), None)
    explainer = ScoreCam(layer=layer)
    expected = upsampled(weighted(torch.from_numpy(weights).double(), values).relu())
    assert gap(explainer(batch_of(explainer, model, images)).values, expected) <= 1e-6


@pytest.mark.parametrize("layer", ["first", "third"])
def test_pytorch_grad_cam_has_the_weights_of_ablationcam_divided_by_the_score(layer):
    """It keeps scores in float32, and sets channels to zero only where the smallest activation is 0."""
    model = model_of(Skips, nn.ReLU)
    network = model.network
    images = random_images()
    module = network.get_submodule(f"{layer}_act")
    values = activation_of(network, f"{layer}_act", images)
    targets = [ClassifierOutputTarget(target) for target in TARGETS]
    with AblationCAM(network, [module], batch_size=4) as cam:
        weights = cam.get_cam_weights(images, module, targets, values.numpy(), None)
    scores = network(images).detach().gather(1, torch.tensor(TARGETS)[:, None])
    explainer = AblationCam(layer=layer, relu=False)
    expected = upsampled(weighted(torch.from_numpy(weights).double() * scores, values))
    assert gap(explainer(batch_of(explainer, model, images)).values, expected) <= 1e-5


def test_ablationcam_imports_nothing_that_changes_the_filters_of_warnings(monkeypatch):
    """torch imports sympy at the first use of some functions; the guard took this for a change by the explainer."""
    monkeypatch.delitem(sys.modules, "torch.fx.experimental.symbolic_shapes", raising=False)
    monkeypatch.setitem(sys.modules, "sympy", None)
    explainer = AblationCam()
    assert explainer(batch_of(explainer, Model.of(drawn(Skips()), "abc"), random_images())).values.isfinite().all()


def test_a_negative_score_does_not_turn_ablationcam_around():
    """The paper divides by the score, so the same evidence would get the opposite sign after a lower bias."""
    model = Model.of(drawn(Skips()), "abc")
    images = random_images()
    explainer = AblationCam()
    expected = explainer(batch_of(explainer, model, images)).values
    model.network.head.bias.data -= 100
    assert gap(explainer(batch_of(explainer, model, images)).values, expected) <= 1e-9
    assert expected.amax() > 0


@pytest.mark.parametrize("kind", [ScoreCam, AblationCam])
def test_maps_do_not_depend_on_the_images_per_pass_nor_on_memory(kind, monkeypatch):
    model = model_of(Gained)
    images = random_images()
    gain = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    explainer = kind(layer="second")
    batches = [batch_of(explainer, model, images, inputs={"gain": gain}, rows=rows) for rows in (4, 50)]
    maps = [explainer(batch).values for batch in batches]
    plain = explainer(batch_of(explainer, model_of(Skips, nn.ReLU), images * gain[:, None, None, None])).values
    assert gap(maps[0], plain) <= 1e-9
    assert max(gap(values, maps[0]) for values in maps) <= 1e-12
    pieced = Budget.pieced

    def short_of_memory(self, count, act, most=None):
        def limited(piece):
            if piece.stop - piece.start > 2:
                raise MemoryError
            return act(piece)

        return pieced(self, count, limited, most)

    monkeypatch.setattr(Budget, "pieced", short_of_memory)
    batch = batch_of(explainer, model, images, inputs={"gain": gain}, rows=50)
    assert gap(explainer(batch).values, maps[0]) <= 1e-12
    assert batch.budget.halved


def test_a_channel_of_tokens_is_set_to_zero_in_all_of_them():
    model = model_of(Tokens)
    network = model.network
    images = random_images()
    explainer = AblationCam(layer="norm", relu=False)
    batch = batch_of(explainer, model, images)
    tokens = activation_of(network, "norm", images)
    grid = tokens[:, 1:].transpose(1, 2).reshape(3, 5, 3, 2)
    weights = torch.zeros(3, 5, dtype=torch.float64)
    for channel in range(5):
        others = torch.arange(5) != channel
        change = observed(network, "norm", images, lambda output: None) - observed(
            network, "norm", images, lambda output, others=others: output * others
        )
        weights[:, channel] = change.gather(1, torch.tensor(TARGETS)[:, None])[:, 0]
    assert gap(explainer(batch).values, upsampled(weighted(weights, grid))) <= 1e-9


def test_a_channel_that_is_constant_up_to_rounding_masks_the_whole_image():
    maps = torch.stack([torch.full((1, 5, 5), 0.3), torch.arange(25.0).reshape(1, 5, 5)]).double()
    maps[0] += 1e-17 * torch.rand(1, 5, 5, dtype=torch.float64)
    masks = channel_masks(upsampled(maps))
    assert not masks[0].any()
    assert (masks[1].amin(), masks[1].amax()) == (0, 1)


def test_ablation_computes_what_comes_before_the_layer_once_per_size_of_a_piece(passed):
    """Eight channels and the whole layer in pieces of four: four copies of an image and one, for each of two images."""
    model = model_of(Skips, nn.ReLU)
    explainer = AblationCam(layer="third")
    batch = batch_of(explainer, model, random_images(2), rows=4)
    counts = passed(batch)
    calls = []
    handle = batch.view.module.get_submodule("first").register_forward_hook(
        lambda *values: calls.append(len(values[2]))
    )
    explainer(batch)
    handle.remove()
    assert calls == [2, 1, 4, 1, 1, 4, 1]
    assert counts["forward"] == 1


@pytest.mark.parametrize("kind", [ScoreCam, AblationCam, EigenCam])
def test_layers_are_named_as_for_gradcam(kind):
    model = toys.Residual()
    assert [explainer.params.layer for explainer in kind(layer="all").expand(model)] == ["stem", "block", "last"]
    assert kind().layers(model) == ("last",)
    verdict = kind(layer="steam").verdict(model)
    assert (verdict.level, "has no layer 'steam'; did you mean 'stem'" in verdict.reason) == ("undefined", True)


class Unknown(toys.Residual):
    """A model whose network may need further inputs."""

    def collate(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        return {}


def test_the_number_of_channels_is_priced():
    model = toys.Residual()
    for layer, count in (("stem", 6), ("last", 8)):
        assert channels(model, layer, (16, 16)) == count
        assert ScoreCam(layer=layer).cost(model, (16, 16)) == (1 + count, 0)
        assert AblationCam(layer=layer).cost(model, (16, 16)) == (2 + count, 0)
    assert channels(Unknown(), "stem", (16, 16)) == 8


def plain_projection(values: np.ndarray, centred: bool) -> np.ndarray:
    """The activations (channel, h, w) along the eigenvector of their largest eigenvalue of A'A."""
    matrix = values.reshape(len(values), -1).T
    if centred:
        matrix = matrix - matrix.mean(0)
    powers, vectors = np.linalg.eigh(matrix.T @ matrix)
    heat = (matrix @ vectors[:, powers.argmax()]).reshape(values.shape[1:])
    return heat * np.sign(heat.flat[np.abs(heat).argmax()])


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("layer", ["first", "third"])
def test_eigencam_is_the_projection_on_the_first_eigenvector(layer, centred, activation):
    model = model_of(Skips, activation)
    network = model.network
    images = random_images()
    values = activation_of(network, f"{layer}_act", images).numpy()
    expected = torch.from_numpy(np.stack([plain_projection(image, centred) for image in values]))[:, None]
    explainer = EigenCam(layer=layer, centred=centred)
    explanation = explainer(batch_of(explainer, model, images))
    assert gap(explanation.values, upsampled(expected)) <= 1e-9
    assert all(0 < share <= 1 for share in explanation.notes["explained_share"])
    if activation is nn.ReLU and not centred:
        assert explanation.values.amin() >= -1e-12


def test_pytorch_grad_cam_agrees_on_eigencam_up_to_its_sign():
    """It centres the activations, computes in float32, and leaves the sign to the decomposition."""
    model = model_of(Skips, nn.ReLU)
    network = model.network
    images = random_images()
    values = activation_of(network, "third_act", images).numpy()
    with EigenCAM(network, [network.third_act]) as cam:
        expected = torch.from_numpy(cam.get_cam_image(images, None, None, values, None, False)).double()[:, None]
    signs = expected.flatten(1).gather(1, expected.flatten(1).abs().argmax(1, keepdim=True)).sign()
    explainer = EigenCam(layer="third", centred=True)
    batch = batch_of(explainer, model, images)
    assert gap(explainer(batch).values, upsampled(expected * signs[..., None, None])) <= 1e-6
    rectified = EigenCam(layer="third", centred=True, relu=True)(batch).values
    assert rectified.amin() >= 0


@pytest.mark.parametrize("values", [[3.0, -3.0, 1.0], [-3.0, 3.0, 1.0]])
def test_of_equally_large_pixels_the_first_is_positive(values):
    result = principal(torch.tensor([[values]], dtype=torch.float64), False)
    expected = np.array([[values]]) * np.sign(values[0])
    np.testing.assert_allclose(result.heat.numpy(), expected[0], rtol=1e-12)
    assert (result.explained_share, result.separation) == (pytest.approx(1), 1)


def test_a_direction_that_is_arbitrary_is_noted():
    result = principal(torch.eye(2, dtype=torch.float64).reshape(2, 1, 2), False)
    assert (result.explained_share, result.separation) == (pytest.approx(0.5), pytest.approx(0))
    empty = principal(torch.zeros(2, 1, 2), False)
    assert (empty.heat.abs().sum(), empty.explained_share, empty.separation) == (0, 0, 0)
    assert principal(torch.full((2, 1, 2), torch.nan), False).heat.isnan().all()


def test_volumes_have_maps_of_all_channels():
    model = toys.Residual(dimensions=3)
    images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(2)])[:2]
    for explainer in (ScoreCam(), AblationCam(), EigenCam()):
        batch = Batch(model, ["a", "b"], images, [0, 1], layers=explainer.layers(model))
        assert explainer(batch).values.shape == (2, 1, *images.shape[2:])


def test_gradient_free_maps_share_the_pass_for_activations(passed):
    model = model_of(Skips, nn.ReLU)
    explainers = [EigenCam(layer=layer) for layer in ("first", "second", "third")]
    batch = batch_of(explainers[0], model, random_images())
    batch.layers = ("first", "second", "third")
    counts = passed(batch)
    for explainer in explainers:
        explainer(batch)
    activations(batch)
    assert counts == {"forward": 1}


class Branching(nn.Module):
    """A network with control flow on values, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Skips()

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images)
        return logits if logits.sum() > 0 else logits * 1


def test_a_network_that_cannot_be_traced_has_all_maps_but_that_of_ablation():
    model = Model.of(drawn(Branching()), "abc")
    explainer = ScoreCam(layer="network.first_act")
    verdict = AblationCam(layer="network.first_act").verdict(model)
    assert verdict.level == "undefined"
    assert "no channel of Branching can be set to zero: it cannot be traced" in verdict.reason
    traced = ScoreCam(layer="first_act")
    expected = traced(batch_of(traced, Model.of(model.network.network, "abc"), random_images())).values
    assert gap(explainer(batch_of(explainer, model, random_images())).values, expected) <= 1e-9


def test_channels_of_several_axes_cannot_be_set_to_zero():
    class Mixed(toys.Residual):
        """A model whose grid is made of every second row."""

        def spatial(self, layer: str, values: Tensor) -> Tensor:
            return torch.cat([values[:, :, ::2], values[:, :, 1::2]], 1)

    model = Mixed()
    images = torch.from_numpy(model.samples(1)[0].image)[None]
    with pytest.raises(ModelError, match="makes channels of several axes of layer 'last', so none can be set to zero"):
        AblationCam()(Batch(model, ["a"], images, [0], layers=("last",)))
