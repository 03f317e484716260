"""Checks the 16 presets against closed forms, a second implementation, Zennit, and conservation of relevance."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from zennit.attribution import Gradient
from zennit.composites import COMPOSITES
from zennit.core import Hook
from zennit.rules import AlphaBeta, ZPlus

from heatproof.errors import HeatproofError, ModelError
from heatproof.passes import gradients
from heatproof.testing import conforms, toys
from heatproof_lrp.lrp import Lrp
from heatproof_lrp.presets import PRESETS, preset_name
from heatproof_lrp.shortcut import with_shortcut

from_score = partial(Lrp, start="score")
"""Relevance that starts as the score, as in Zennit."""

IMAGE = [1.0, 2.0]
POSITIVE_BIAS = [1.0, 0.0]
MIXED_BIAS = [1.0, -1.0]


@conforms(
    Lrp(),
    Lrp(preset="z"),
    Lrp(preset="alpha_2_beta_1_ib", start="one"),
    Lrp(composite="epsilon_gamma_box", low=0, high=(1, 1, 1)),
    Lrp(layers=[{"kind": "first", "rule": "flat"}, {"kind": "weighted", "rule": "gamma", "gamma": 0.1}]),
)
def test_conformance(check):
    check()


@conforms(
    Lrp(preset="z", batch_norm="innvestigate"),
    expected={
        "the model is left as it was after an error": "the law breaks the folded view, but the rule uses the other view"
    },
)
def test_conformance_where_batch_norm_is_not_merged(check):
    check()


def two_neurons(bias: list[float]) -> nn.Module:
    """Two neurons x1 + x2 and 2 x2 - x1, plus biases; the score is their sum, and each has its value as relevance."""
    neurons = nn.Linear(2, 2)
    total = nn.Linear(2, 1, bias=False)
    neurons.weight.data = torch.tensor([[1.0, 1.0], [-1.0, 2.0]])
    neurons.bias.data = torch.tensor(bias)
    total.weight.data = torch.ones(1, 2)
    return nn.Sequential(nn.Flatten(), neurons, total).double()


def relevance_by_rule(batch_of, bias: list[float], **params) -> list[float]:
    """The map of two neurons with the rule under test; the layer that sums them has the rule norm."""
    images = torch.tensor(IMAGE, dtype=torch.float64).reshape(1, 1, 1, 2)
    rules = [{"name": "2", "rule": "norm", "stabilizer": 1e-15}, {"name": "1", **params}]
    explanation = from_score(layers=rules)(batch_of(two_neurons(bias), images, [0], 1))
    return explanation.values.flatten().tolist()


@pytest.mark.parametrize(
    ("bias", "params", "expected"),
    [
        (POSITIVE_BIAS, {"rule": "epsilon", "epsilon": 1e-9}, [0, 6]),
        (POSITIVE_BIAS, {"rule": "epsilon", "epsilon": 1e-9, "zero_params": "bias"}, [1 / 3, 20 / 3]),
        (POSITIVE_BIAS, {"rule": "epsilon", "epsilon": 0.1}, [0.007868, 5.822187]),
        (POSITIVE_BIAS, {"rule": "alpha_beta", "alpha": 1, "beta": 0, "zero_params": "bias"}, [4 / 3, 17 / 3]),
        (POSITIVE_BIAS, {"rule": "z_plus", "zero_params": "bias"}, [4 / 3, 17 / 3]),
        (POSITIVE_BIAS, {"rule": "z_plus_fast"}, [4 / 3, 17 / 3]),
        (POSITIVE_BIAS, {"rule": "flat"}, [3.5, 3.5]),
        (POSITIVE_BIAS, {"rule": "w_square", "zero_params": "bias"}, [2.6, 4.4]),
        (POSITIVE_BIAS, {"rule": "w_square"}, [1.933333, 3.733333]),
        (POSITIVE_BIAS, {"rule": "alpha_beta", "alpha": 2, "beta": 1, "zero_params": "bias"}, [-1 / 3, 34 / 3]),
        (MIXED_BIAS, {"rule": "alpha_beta", "alpha": 1, "beta": 0}, [1, 4]),
        (MIXED_BIAS, {"rule": "z_plus"}, [1, 4]),
        (MIXED_BIAS, {"rule": "alpha_beta", "alpha": 2, "beta": 1}, [1, 8]),
    ],
)
def test_each_rule_has_its_closed_form(batch_of, bias, params, expected):
    actual = relevance_by_rule(batch_of, bias, **params)
    assert actual == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    ("bias", "preset", "expected"),
    [
        (POSITIVE_BIAS, "z", [0, 6]),
        (POSITIVE_BIAS, "z_ib", [1 / 3, 20 / 3]),
        (POSITIVE_BIAS, "epsilon", [0, 6]),
        (POSITIVE_BIAS, "epsilon_ib", [1 / 3, 20 / 3]),
        (POSITIVE_BIAS, "alpha_1_beta_0_ib", [4 / 3, 17 / 3]),
        (POSITIVE_BIAS, "z_plus", [4 / 3, 17 / 3]),
        (POSITIVE_BIAS, "z_plus_fast", [4 / 3, 17 / 3]),
        (MIXED_BIAS, "alpha_1_beta_0", [1, 4]),
    ],
)
def test_each_preset_has_its_closed_form(batch_of, bias, preset, expected):
    images = torch.tensor(IMAGE, dtype=torch.float64).reshape(1, 1, 1, 2)
    explanation = from_score(preset=preset)(batch_of(two_neurons(bias), images, [0], 1))
    assert explanation.values.flatten().tolist() == pytest.approx(expected, abs=2e-5)


def test_alpha_beta_with_bias_agrees_with_zennit_but_not_with_innvestigate(batch_of):
    """iNNvestigate gives (1, 14/3) and (1, 28/3); without bias both agree."""
    images = torch.tensor(IMAGE, dtype=torch.float64).reshape(1, 1, 1, 2)
    batch = batch_of(two_neurons(MIXED_BIAS), images, [0], 1)
    assert from_score(preset="alpha_1_beta_0")(batch).values.flatten().tolist() == pytest.approx([1, 4], abs=2e-5)
    actual = relevance_by_rule(batch_of, MIXED_BIAS, rule="alpha_beta", alpha=2, beta=1)
    assert actual == pytest.approx([1, 8], abs=2e-5)


class Inception(nn.Module):
    """Functional activations and pools, parallel branches, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(6, eps=1e-3)
        self.pointwise = nn.Conv2d(6, 4, 1)
        self.spatial = nn.Conv2d(6, 5, 3, padding=1)
        self.pooled = nn.Conv2d(6, 3, 1)
        self.dense = nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = functional.relu(self.norm(self.stem(images)))
        pooled = functional.avg_pool2d(values, 3, stride=1, padding=1)
        branches = [self.pointwise(values), self.spatial(values), self.pooled(pooled)]
        values = functional.max_pool2d(functional.relu(torch.cat(branches, 1)), 3, stride=2)
        return self.head(functional.relu(self.dense(values.mean((2, 3)))))


def vgg() -> nn.Module:
    """Convolutions, max-pooling, and a dense layer with weights per pixel."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        nn.Linear(72, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 3),
    )  # fmt: skip


def residual() -> nn.Module:
    """A skip connection, BatchNorm, and one ReLU that serves several layers."""
    return toys.Residual().build()


NETWORKS = {"vgg": vgg, "residual": residual, "inception": Inception}


def drawn(kind: str) -> nn.Module:
    """A small network with weights and biases of both signs, in float64."""
    return toys.drawn(NETWORKS[kind](), 1).double().eval()


def random_images(count: int = 3, size: int = 16) -> Tensor:
    """Images with values of both signs."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=generator)


def gap(actual: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest value."""
    return float((actual - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_plain_implementation_agrees(plain_map, batch_of, kind, preset):
    batch = batch_of(drawn(kind), random_images(), [2, 0, 1])
    assert Lrp(preset=preset).verdict(batch.model).level == "exact"
    actual = from_score(preset=preset)(batch).values
    tolerance = 1e-10
    if preset.startswith(("z", "epsilon")):
        tolerance = 1e-7
    assert gap(actual, plain_map(batch, preset)) <= tolerance


@pytest.mark.slow
def test_the_plain_implementation_agrees_in_a_volume(plain_map, batch_of):
    volume = torch.rand(2, 3, 8, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    batch = batch_of(toys.Residual(dimensions=3).build().double(), volume, [1, 2])
    actual = from_score(preset="sequential_preset_b_flat")(batch).values
    assert gap(actual, plain_map(batch, "sequential_preset_b_flat")) <= 1e-10


COMPOSITE_SETTINGS = {
    "epsilon_gamma_box": {"low": -4.0, "high": 4.0, "gamma": 0.1}, "epsilon_plus": {"epsilon": 0.01},
    "epsilon_alpha2_beta1": {"zero_params": "bias"}, "epsilon_plus_flat": {}, "epsilon_alpha2_beta1_flat": {},
    "excitation_backprop": {"stabilizer": 1e-4},
}  # fmt: skip


@pytest.mark.parametrize("composite", COMPOSITE_SETTINGS)
def test_zennit_agrees_on_a_network_of_modules(batch_of, composite):
    settings = COMPOSITE_SETTINGS[composite]
    network = drawn("vgg")
    actual = from_score(composite=composite, **settings)(batch_of(network, random_images(), [2, 0, 1])).values
    start = functional.one_hot(torch.tensor([2, 0, 1]), 3)
    with Gradient(network, COMPOSITES[composite](**settings)) as attribution:
        _, expected = attribution(random_images(), lambda output: output.detach() * start)
    assert gap(actual, expected) <= 1e-12


def with_mean(padding: int) -> nn.Module:
    """Convolution, pooling, convolution, mean and two dense layers, with biases."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=padding),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3),
    )  # fmt: skip
    return toys.drawn(network, 4).double()


@pytest.mark.parametrize("preset", ["z_ib", "epsilon_ib", "alpha_1_beta_0_ib", "z_plus"])
def test_relevance_is_conserved_without_biases(batch_of, preset):
    explanation = from_score(preset=preset)(batch_of(with_mean(1), random_images(), [0, 1, 2]))
    assert explanation.notes["relevance_share"] == pytest.approx([1.0] * 3, abs=1e-3)


def test_biases_absorb_relevance(batch_of):
    for preset in ("z", "epsilon", "alpha_1_beta_0"):
        explanation = from_score(preset=preset)(batch_of(with_mean(1), random_images(), [0, 1, 2]))
        assert all(abs(share - 1) > 0.02 for share in explanation.notes["relevance_share"])


def test_alpha_2_beta_1_conserves_only_where_neurons_have_both_signs(batch_of):
    explanation = from_score(preset="alpha_2_beta_1_ib")(batch_of(with_mean(1), random_images(), [0, 1, 2]))
    assert explanation.notes["relevance_share"] == pytest.approx([1.0] * 3, abs=1e-3)
    one_sided = from_score(preset="alpha_2_beta_1_ib")(
        batch_of(two_neurons(POSITIVE_BIAS), random_images(1, 1)[:, :1, :, :].expand(1, 1, 1, 2), [0], 1)
    )
    assert one_sided.notes["relevance_share"][0] > 1.5


def test_flat_loses_the_relevance_of_dead_channels_before_a_mean(batch_of):
    """Dense layers distribute relevance evenly over 12 channels; a mean cannot pass on the share of a dead channel."""
    network = with_mean(0)
    alive = (network[:5](random_images()).amax((2, 3)) > 0).double().mean(1)
    assert 0 < alive.min() < 1
    explanation = from_score(preset="flat")(batch_of(network, random_images(), [0, 1, 2]))
    assert explanation.notes["relevance_share"] == pytest.approx(alive.tolist(), abs=1e-4)


def test_relevance_starts_as_the_score_or_as_one(batch_of):
    network = drawn("vgg")
    network[-1].weight.data.neg_()
    batch = batch_of(network, random_images(), [0, 1, 2])
    score = batch.score(batch.images)
    assert score.max() < 0
    by_score, by_one = (Lrp(preset="z_ib", start=start)(batch) for start in ("score", "one"))
    assert gap(by_score.values, by_one.values * score[:, None, None, None]) <= 1e-12
    assert by_score.values.flatten(1).sum(1).tolist() == pytest.approx(score.tolist(), rel=1e-3)
    assert by_score.notes["relevance_share"] == pytest.approx(by_one.notes["relevance_share"])


def test_z_without_bias_is_image_times_gradient(batch_of):
    """For piecewise linear networks without biases."""
    model = toys.Piecewise()
    batch = batch_of(model.build().double(), random_images(), [0, 1, 0], 2)
    expected = batch.images * gradients(batch).images
    assert gap(from_score(preset="z")(batch).values, expected) <= 1e-4
    assert gap(from_score(preset="z", stabilizer=1e-12)(batch).values, expected) <= 1e-6


def test_the_rule_of_innvestigate_for_batch_norm(batch_of):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    head = nn.Linear(8, 1)
    norm.running_mean = torch.tensor([0.5, -1.0])
    norm.running_var = torch.tensor([2.0, 0.5])
    norm.weight.data = torch.tensor([1.5, -0.5])
    norm.bias.data = torch.tensor([0.25, 0.75])
    network = nn.Sequential(norm, nn.Flatten(), head).double().eval()
    images = random_images(1, 2)[:, :2]
    batch = batch_of(network, images, [0], 1)
    output = norm(images).detach()
    upper = output * head.weight.detach().reshape(1, 2, 2, 2)
    beta, mean = (value.detach().reshape(1, 2, 1, 1) for value in (norm.bias, norm.running_mean))
    expected = images * (output - beta) * upper / ((images - mean) * output)
    actual = from_score(preset="z", batch_norm="innvestigate")(batch).values
    assert gap(actual, expected) <= 1e-5
    assert Lrp(preset="z", batch_norm="innvestigate").verdict(batch.model).level == "exact"
    assert gap(from_score(preset="z")(batch).values, upper) <= 1e-6  # without this rule relevance passes unchanged


def test_a_layer_map_of_the_config_can_equal_a_preset(batch_of):
    batch = batch_of(drawn("inception"), random_images(), [2, 0, 1])
    layers = [
        {"name": "ste*", "rule": "flat"},
        {"kind": "convolution", "rule": "alpha_beta", "alpha": 2, "beta": 1},
        {"kind": "dense", "rule": "epsilon", "epsilon": 0.1},
    ]
    actual = from_score(layers=layers)(batch).values
    assert torch.equal(actual, from_score(preset="sequential_preset_b_flat")(batch).values)
    layers[0] = {"kind": "first", "rule": "flat"}
    assert torch.equal(actual, from_score(layers=layers)(batch).values)


@pytest.mark.parametrize(("preset", "bias"), [("alpha_1_beta_0", {}), ("alpha_1_beta_0_ib", {"zero_params": "bias"})])
def test_alpha_1_beta_0_equals_z_plus(batch_of, preset, bias):
    batch = batch_of(drawn("vgg"), random_images(), [2, 0, 1])
    by_layers = from_score(layers=[{"kind": "weighted", "rule": "alpha_beta", "alpha": 1, "beta": 0, **bias}])
    assert gap(from_score(preset=preset)(batch).values, by_layers(batch).values) <= 1e-12


def test_there_are_16_presets_under_their_usual_names():
    assert len(PRESETS) == 16
    registered = [
        "lrp.z", "lrp.z_IB", "lrp.epsilon", "lrp.epsilon_IB", "lrp.w_square", "lrp.flat", "lrp.alpha_2_beta_1",
        "lrp.alpha_2_beta_1_IB", "lrp.alpha_1_beta_0", "lrp.alpha_1_beta_0_IB", "lrp.z_plus", "lrp.z_plus_fast",
        "lrp.sequential_preset_a", "lrp.sequential_preset_b", "lrp.sequential_preset_a_flat",
        "lrp.sequential_preset_b_flat",
    ]  # fmt: skip
    assert [preset_name(name) for name in registered] == list(PRESETS)
    assert preset_name("Alpha2Beta1-IgnoreBias") == "alpha_2_beta_1_ib"
    assert from_score(preset="lrp.z_IB").identity == from_score(preset="z_ib").identity


def test_an_epsilon_of_the_config(batch_of):
    batch = batch_of(drawn("vgg"), random_images(), [2, 0, 1])
    by_preset = from_score(preset="epsilon", epsilon=0.25)(batch).values
    by_layers = from_score(layers=[{"kind": "weighted", "rule": "epsilon", "epsilon": 0.25}])(batch).values
    assert torch.equal(by_preset, by_layers)
    assert gap(by_preset, from_score(preset="epsilon")(batch).values) > 1e-3


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"preset": "alpha_2_beta_2"}, "preset 'alpha_2_beta_2' is not known .*; did you mean 'alpha_2_beta_1'"),
        ({"composite": "epsilon_pluss"}, "did you mean 'epsilon_plus' or 'epsilon_plus_flat'"),
        ({"composite": "guided_backprop"}, "composite 'guided_backprop' is not known"),
        ({"preset": "z", "composite": "epsilon_plus"}, "give one of preset, composite, layers"),
        ({"preset": "z", "epsilon": 0.1}, "preset z has no setting 'epsilon' .*; allowed: stabilizer"),
        ({"preset": "z", "gamma": 0.1}, "preset z has no setting 'gamma'"),
        ({"composite": "epsilon_plus", "gamma": 0.1}, "composite epsilon_plus has no setting 'gamma'"),
        ({"composite": "epsilon_gamma_box"}, "composite epsilon_gamma_box needs low and high"),
        ({"layers": [{"rule": "gama"}]}, "rule 'gama' is not known .*; did you mean 'gamma'"),
        ({"layers": [{"rule": "flat", "kind": "conv"}]}, "kind 'conv' is not known"),
        ({"layers": [{"rule": "alpha_beta", "alpha": 3}]}, "alpha - beta must equal 1"),
        ({"layers": [{"rule": "epsilon", "alpha": 1}]}, "epsilon has no setting 'alpha'"),
        ({"layers": [{"rule": "z_box", "low": 0}]}, "z_box needs high"),
    ],
)
def test_invalid_settings_are_an_error(params, sentence):
    with pytest.raises(HeatproofError, match=sentence):
        from_score(**params)


def test_a_layer_without_a_rule_is_an_error(batch_of):
    batch = batch_of(drawn("vgg"), random_images(), [2, 0, 1])
    with pytest.raises(ModelError, match="layer '10' has no rule; add an entry"):
        from_score(layers=[{"kind": "convolution", "rule": "flat"}])(batch)
    with pytest.raises(ModelError, match=r"no layer matches '5\?'"):
        from_score(layers=[{"name": "5?", "rule": "flat"}, {"kind": "weighted", "rule": "flat"}])(batch)


@pytest.mark.parametrize("kind", ["addition", "convolution"])
def test_rule_pass_cannot_apply_where_the_shape_changes(batch_of, kind):
    batch = batch_of(toys.Residual().build().double(), random_images(), [0, 1, 0])
    layers = [{"kind": kind, "rule": "pass"}, {"kind": "weighted", "rule": "epsilon"}]
    with pytest.raises(
        ModelError, match=r"rule pass cannot apply to layer '.+', which adds terms or changes the shape"
    ):
        from_score(layers=layers)(batch)


class CountingConvolution(nn.Conv2d):
    """A convolution that counts its runs."""

    runs = 0

    def forward(self, values: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(values)


@pytest.mark.parametrize(("rule", "parts"), [(ZPlus(), 2), (AlphaBeta(2, 1), 4), (AlphaBeta(zero_params="bias"), 4)])
@pytest.mark.parametrize("negative", [False, True])
def test_a_shortcut_runs_half_of_the_parts_without_negative_inputs(rule, parts, negative):
    """The relevance has the bits of Zennit's rule; a layer with a negative input runs all parts."""
    torch.manual_seed(0)
    layer = CountingConvolution(3, 4, 3).double()
    values = random_images()[:2].abs() - 0.5 * negative
    expected, runs = relevance_and_runs(layer, rule, values)
    actual, shortcut_runs = relevance_and_runs(layer, with_shortcut(rule), values)
    assert torch.equal(actual, expected)
    assert runs == 1 + parts
    if negative:
        assert shortcut_runs == runs
    else:
        assert shortcut_runs == 1 + parts // 2


def relevance_and_runs(layer: CountingConvolution, rule: Hook, values: Tensor) -> tuple[Tensor, int]:
    """The relevance of the values by a rule, and the number of times that the layer ran."""
    handles = rule.copy().register(layer)
    leaf = values.clone().requires_grad_()
    layer.runs = 0
    (relevance,) = torch.autograd.grad(layer(leaf).sum(), leaf)
    handles.remove()
    return relevance, layer.runs
