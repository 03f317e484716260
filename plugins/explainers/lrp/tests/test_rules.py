"""The 16 presets against the specification's vectors, a second implementation, Zennit itself and conservation."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from zennit.attribution import Gradient
from zennit.composites import COMPOSITES
from zennit.rules import AlphaBeta, ZPlus

from heatproof.errors import HeatproofError, ModelError
from heatproof.passes import gradients
from heatproof.testing import conforms, toys
from heatproof_lrp.lrp import Lrp
from heatproof_lrp.presets import PRESETS, preset_name
from heatproof_lrp.sparing import sparing

from_score = partial(Lrp, start="score")
"""Relevance that starts as the score, as in the specification's vectors and in Zennit."""

IMAGE = [1.0, 2.0]
PLAIN, MIXED = [1.0, 0.0], [1.0, -1.0]


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
        "the model is left as it was after an error": "the law breaks the folded view, and the rule needs the other one"
    },
)
def test_conformance_where_batch_norm_is_not_merged(check):
    check()


def summed(bias: list[float]) -> nn.Module:
    """The two neurons of the vectors V-LRP; the score is the sum of theirs, which hands each its own value."""
    neurons, total = nn.Linear(2, 2), nn.Linear(2, 1, bias=False)
    neurons.weight.data = torch.tensor([[1.0, 1.0], [-1.0, 2.0]])
    neurons.bias.data, total.weight.data = torch.tensor(bias), torch.ones(1, 2)
    return nn.Sequential(nn.Flatten(), neurons, total).double()


def relevance_of_vector(batch_of, bias: list[float], **params) -> list[float]:
    """The map of V-LRP; the layer that sums has the z-rule, the neurons the rule under test."""
    images = torch.tensor(IMAGE, dtype=torch.float64).reshape(1, 1, 1, 2)
    rules = [{"name": "2", "rule": "norm", "stabilizer": 1e-15}, {"name": "1", **params}]
    made = from_score(layers=rules)(batch_of(summed(bias), images, [0], 1))
    return made.values.flatten().tolist()


@pytest.mark.parametrize(
    ("bias", "params", "expected"),
    [
        (PLAIN, {"rule": "epsilon", "epsilon": 1e-9}, [0, 6]),
        (PLAIN, {"rule": "epsilon", "epsilon": 1e-9, "zero_params": "bias"}, [1 / 3, 20 / 3]),
        (PLAIN, {"rule": "epsilon", "epsilon": 0.1}, [0.007868, 5.822187]),
        (PLAIN, {"rule": "alpha_beta", "alpha": 1, "beta": 0, "zero_params": "bias"}, [4 / 3, 17 / 3]),
        (PLAIN, {"rule": "z_plus", "zero_params": "bias"}, [4 / 3, 17 / 3]),
        (PLAIN, {"rule": "z_plus_fast"}, [4 / 3, 17 / 3]),
        (PLAIN, {"rule": "flat"}, [3.5, 3.5]),
        (PLAIN, {"rule": "w_square", "zero_params": "bias"}, [2.6, 4.4]),
        (PLAIN, {"rule": "w_square"}, [1.933333, 3.733333]),
        (PLAIN, {"rule": "alpha_beta", "alpha": 2, "beta": 1, "zero_params": "bias"}, [-1 / 3, 34 / 3]),
        (MIXED, {"rule": "alpha_beta", "alpha": 1, "beta": 0}, [1, 4]),
        (MIXED, {"rule": "z_plus"}, [1, 4]),
        (MIXED, {"rule": "alpha_beta", "alpha": 2, "beta": 1}, [1, 8]),
    ],
)
def test_the_vectors_v_lrp(batch_of, bias, params, expected):
    found = relevance_of_vector(batch_of, bias, **params)
    assert found == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    ("bias", "preset", "expected"),
    [
        (PLAIN, "z", [0, 6]),
        (PLAIN, "z_ib", [1 / 3, 20 / 3]),
        (PLAIN, "epsilon", [0, 6]),
        (PLAIN, "epsilon_ib", [1 / 3, 20 / 3]),
        (PLAIN, "alpha_1_beta_0_ib", [4 / 3, 17 / 3]),
        (PLAIN, "z_plus", [4 / 3, 17 / 3]),
        (PLAIN, "z_plus_fast", [4 / 3, 17 / 3]),
        (MIXED, "alpha_1_beta_0", [1, 4]),
    ],
)
def test_the_presets_give_the_vectors(batch_of, bias, preset, expected):
    images = torch.tensor(IMAGE, dtype=torch.float64).reshape(1, 1, 1, 2)
    made = from_score(preset=preset)(batch_of(summed(bias), images, [0], 1))
    assert made.values.flatten().tolist() == pytest.approx(expected, abs=2e-5)


def test_alpha_beta_with_bias_is_zennits_not_innvestigates(batch_of):
    """iNNvestigate gives (1, 14/3) and (1, 28/3) for V-LRP (5); without bias both agree."""
    images = torch.tensor(IMAGE, dtype=torch.float64).reshape(1, 1, 1, 2)
    batch = batch_of(summed(MIXED), images, [0], 1)
    assert from_score(preset="alpha_1_beta_0")(batch).values.flatten().tolist() == pytest.approx([1, 4], abs=2e-5)
    found = relevance_of_vector(batch_of, MIXED, rule="alpha_beta", alpha=2, beta=1)
    assert found == pytest.approx([1, 8], abs=2e-5)


class Inception(nn.Module):
    """Functional activations and pools, branches side by side, and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6, eps=1e-3)
        self.one, self.three, self.pooled = nn.Conv2d(6, 4, 1), nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(6, 3, 1)
        self.dense, self.head = nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = functional.relu(self.norm(self.stem(images)))
        pooled = functional.avg_pool2d(values, 3, stride=1, padding=1)
        branches = [self.one(values), self.three(values), self.pooled(pooled)]
        values = functional.max_pool2d(functional.relu(torch.cat(branches, 1)), 3, stride=2)
        return self.head(functional.relu(self.dense(values.mean((2, 3)))))


def vgg() -> nn.Module:
    """Convolutions, max-pooling, and dense layers that read positions."""
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
    draw = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, size, size, dtype=torch.float64, generator=draw)


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_walk_without_hooks_agrees(walk, batch_of, kind, preset):
    batch = batch_of(drawn(kind), random_images(), [2, 0, 1])
    assert Lrp(preset=preset).verdict(batch.model).level == "exact"
    found = from_score(preset=preset)(batch).values
    assert apart(found, walk(batch, preset)) <= (1e-7 if preset.startswith(("z", "epsilon")) else 1e-10)


def test_a_walk_without_hooks_agrees_in_a_volume(walk, batch_of):
    volume = torch.rand(2, 3, 8, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    batch = batch_of(toys.Residual(dimensions=3).build().double(), volume, [1, 2])
    assert (
        apart(from_score(preset="sequential_preset_b_flat")(batch).values, walk(batch, "sequential_preset_b_flat"))
        <= 1e-10
    )


COMPOSITE_SETTINGS = {
    "epsilon_gamma_box": {"low": -4.0, "high": 4.0, "gamma": 0.1}, "epsilon_plus": {"epsilon": 0.01},
    "epsilon_alpha2_beta1": {"zero_params": "bias"}, "epsilon_plus_flat": {}, "epsilon_alpha2_beta1_flat": {},
    "excitation_backprop": {"stabilizer": 1e-4},
}  # fmt: skip


@pytest.mark.parametrize("composite", COMPOSITE_SETTINGS)
def test_zennit_agrees_where_its_hooks_reach_everything(batch_of, composite):
    settings, network = COMPOSITE_SETTINGS[composite], drawn("vgg")
    found = from_score(composite=composite, **settings)(batch_of(network, random_images(), [2, 0, 1])).values
    start = functional.one_hot(torch.tensor([2, 0, 1]), 3)
    with Gradient(network, COMPOSITES[composite](**settings)) as attribution:
        _, expected = attribution(random_images(), lambda output: output.detach() * start)
    assert apart(found, expected) <= 1e-12


def conserving(padding: int) -> nn.Module:
    """Convolution, pooling, convolution, mean and two dense layers, with biases."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3, padding=padding),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3),
    )  # fmt: skip
    return toys.drawn(network, 4).double()


@pytest.mark.parametrize("preset", ["z_ib", "epsilon_ib", "alpha_1_beta_0_ib", "z_plus"])
def test_relevance_is_conserved_without_biases(batch_of, preset):
    made = from_score(preset=preset)(batch_of(conserving(1), random_images(), [0, 1, 2]))
    assert made.notes["relevance_share"] == pytest.approx([1.0] * 3, abs=1e-3)


def test_biases_absorb_relevance(batch_of):
    for preset in ("z", "epsilon", "alpha_1_beta_0"):
        made = from_score(preset=preset)(batch_of(conserving(1), random_images(), [0, 1, 2]))
        assert all(abs(share - 1) > 0.02 for share in made.notes["relevance_share"])


def test_alpha_2_beta_1_conserves_only_where_neurons_have_both_signs(batch_of):
    made = from_score(preset="alpha_2_beta_1_ib")(batch_of(conserving(1), random_images(), [0, 1, 2]))
    assert made.notes["relevance_share"] == pytest.approx([1.0] * 3, abs=1e-3)
    one_sided = from_score(preset="alpha_2_beta_1_ib")(
        batch_of(summed(PLAIN), random_images(1, 1)[:, :1, :, :].expand(1, 1, 1, 2), [0], 1)
    )
    assert one_sided.notes["relevance_share"][0] > 1.5


def test_flat_loses_what_falls_on_dead_channels_of_a_mean(batch_of):
    """Dense layers spread relevance evenly over 12 channels; the mean of a dead one has nothing to share it by."""
    network = conserving(0)
    alive = (network[:5](random_images()).amax((2, 3)) > 0).double().mean(1)
    assert 0 < alive.min() < 1
    made = from_score(preset="flat")(batch_of(network, random_images(), [0, 1, 2]))
    assert made.notes["relevance_share"] == pytest.approx(alive.tolist(), abs=1e-4)


def test_relevance_starts_as_the_score_or_as_one(batch_of):
    network = drawn("vgg")
    network[-1].weight.data.neg_()
    batch = batch_of(network, random_images(), [0, 1, 2])
    score = batch.score(batch.images)
    assert score.max() < 0
    by_score, by_one = (Lrp(preset="z_ib", start=start)(batch) for start in ("score", "one"))
    assert apart(by_score.values, by_one.values * score[:, None, None, None]) <= 1e-12
    assert by_score.values.flatten(1).sum(1).tolist() == pytest.approx(score.tolist(), rel=1e-3)
    assert by_score.notes["relevance_share"] == pytest.approx(by_one.notes["relevance_share"])


def test_z_without_bias_is_image_times_gradient(batch_of):
    """For networks without biases that are linear piece by piece."""
    model = toys.Piecewise()
    batch = batch_of(model.build().double(), random_images(), [0, 1, 0], 2)
    expected = batch.images * gradients(batch).images
    assert apart(from_score(preset="z")(batch).values, expected) <= 1e-4
    assert apart(from_score(preset="z", stabilizer=1e-12)(batch).values, expected) <= 1e-6


def test_the_rule_of_innvestigate_for_batch_norm(batch_of):
    torch.manual_seed(0)
    norm, head = nn.BatchNorm2d(2), nn.Linear(8, 1)
    norm.running_mean, norm.running_var = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.5])
    norm.weight.data, norm.bias.data = torch.tensor([1.5, -0.5]), torch.tensor([0.25, 0.75])
    network = nn.Sequential(norm, nn.Flatten(), head).double().eval()
    images = random_images(1, 2)[:, :2]
    batch = batch_of(network, images, [0], 1)
    output = norm(images).detach()
    upper = output * head.weight.detach().reshape(1, 2, 2, 2)
    beta, mean = (value.detach().reshape(1, 2, 1, 1) for value in (norm.bias, norm.running_mean))
    expected = images * (output - beta) * upper / ((images - mean) * output)
    found = from_score(preset="z", batch_norm="innvestigate")(batch).values
    assert apart(found, expected) <= 1e-5
    assert Lrp(preset="z", batch_norm="innvestigate").verdict(batch.model).level == "exact"
    assert apart(from_score(preset="z")(batch).values, upper) <= 1e-6  # without it relevance passes


def test_a_layer_map_of_the_config_is_a_preset_in_other_words(batch_of):
    batch = batch_of(drawn("inception"), random_images(), [2, 0, 1])
    layers = [
        {"name": "ste*", "rule": "flat"},
        {"kind": "convolution", "rule": "alpha_beta", "alpha": 2, "beta": 1},
        {"kind": "dense", "rule": "epsilon", "epsilon": 0.1},
    ]
    found = from_score(layers=layers)(batch).values
    assert torch.equal(found, from_score(preset="sequential_preset_b_flat")(batch).values)
    layers[0] = {"kind": "first", "rule": "flat"}
    assert torch.equal(found, from_score(layers=layers)(batch).values)


@pytest.mark.parametrize("preset", ["alpha_1_beta_0", "alpha_1_beta_0_ib"])
def test_alpha_1_beta_0_is_run_as_z_plus(batch_of, preset):
    batch = batch_of(drawn("vgg"), random_images(), [2, 0, 1])
    bias = {"zero_params": "bias"} if preset.endswith("ib") else {}
    same = from_score(layers=[{"kind": "weighted", "rule": "alpha_beta", "alpha": 1, "beta": 0, **bias}])
    assert apart(from_score(preset=preset)(batch).values, same(batch).values) <= 1e-12


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


def test_an_epsilon_of_ones_own(batch_of):
    batch = batch_of(drawn("vgg"), random_images(), [2, 0, 1])
    by_preset = from_score(preset="epsilon", epsilon=0.25)(batch).values
    by_layers = from_score(layers=[{"kind": "weighted", "rule": "epsilon", "epsilon": 0.25}])(batch).values
    assert torch.equal(by_preset, by_layers)
    assert apart(by_preset, from_score(preset="epsilon")(batch).values) > 1e-3


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"preset": "alpha_2_beta_2"}, "preset 'alpha_2_beta_2' is not known; did you mean 'alpha_2_beta_1'"),
        ({"composite": "epsilon_pluss"}, "did you mean 'epsilon_plus' or 'epsilon_plus_flat'"),
        ({"composite": "guided_backprop"}, "composite 'guided_backprop' is not known"),
        ({"preset": "z", "composite": "epsilon_plus"}, "give one of preset, composite, layers"),
        ({"preset": "z", "epsilon": 0.1}, "preset z has no setting 'epsilon'; allowed: stabilizer"),
        ({"preset": "z", "gamma": 0.1}, "preset z has no setting 'gamma'"),
        ({"composite": "epsilon_plus", "gamma": 0.1}, "composite epsilon_plus has no setting 'gamma'"),
        ({"composite": "epsilon_gamma_box"}, "composite epsilon_gamma_box needs low and high"),
        ({"layers": [{"rule": "gama"}]}, "rule 'gama' is not known; did you mean 'gamma'"),
        ({"layers": [{"rule": "flat", "kind": "conv"}]}, "kind 'conv' is not known"),
        ({"layers": [{"rule": "alpha_beta", "alpha": 3}]}, "alpha - beta must equal 1"),
        ({"layers": [{"rule": "epsilon", "alpha": 1}]}, "epsilon has no setting 'alpha'"),
        ({"layers": [{"rule": "z_box", "low": 0}]}, "z_box needs high"),
    ],
)
def test_bad_settings_are_one_sentence(params, sentence):
    with pytest.raises(HeatproofError, match=sentence):
        from_score(**params)


def test_a_layer_that_no_rule_reaches_is_an_error(batch_of):
    batch = batch_of(drawn("vgg"), random_images(), [2, 0, 1])
    with pytest.raises(ModelError, match="no rule holds at layer '10'; add a last entry"):
        from_score(layers=[{"kind": "convolution", "rule": "flat"}])(batch)
    with pytest.raises(ModelError, match=r"no layer fits '5\?'"):
        from_score(layers=[{"name": "5?", "rule": "flat"}, {"kind": "weighted", "rule": "flat"}])(batch)


@pytest.mark.parametrize("kind", ["addition", "convolution"])
def test_relevance_cannot_pass_where_the_shape_changes(batch_of, kind):
    batch = batch_of(toys.Residual().build().double(), random_images(), [0, 1, 0])
    layers = [{"kind": kind, "rule": "pass"}, {"kind": "weighted", "rule": "epsilon"}]
    with pytest.raises(ModelError, match=r"rule pass cannot hold at layer '.+', which adds terms or changes the shape"):
        from_score(layers=layers)(batch)


class Counted(nn.Conv2d):
    """A convolution that counts its runs."""

    runs = 0

    def forward(self, values: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(values)


@pytest.mark.parametrize(("rule", "parts"), [(ZPlus(), 2), (AlphaBeta(2, 1), 4), (AlphaBeta(zero_params="bias"), 4)])
@pytest.mark.parametrize("negative", [False, True])
def test_half_a_rule_is_all_of_it_where_no_input_is_negative(rule, parts, negative):
    """To the bit Zennit's whole rule; a layer with a negative input runs all of it."""
    torch.manual_seed(0)
    layer, values, found = Counted(3, 4, 3).double(), random_images()[:2].abs() - 0.5 * negative, []
    for made, expected in ((rule, parts), (sparing(rule), parts if negative else parts // 2)):
        handles, leaf, layer.runs = made.copy().register(layer), values.clone().requires_grad_(), 0
        found.append(torch.autograd.grad(layer(leaf).sum(), leaf)[0])
        handles.remove()
        assert layer.runs == 1 + expected
    assert torch.equal(*found)
