"""Checks LRP on real networks, errors of Zennit on them, verdicts, and side effects."""

import gc
import re
import weakref
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models
from zennit.attribution import Gradient
from zennit.canonizers import SequentialMergeBatchNorm
from zennit.composites import EpsilonPlus, EpsilonPlusFlat

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.network.views import View
from heatproof.testing import toys
from heatproof_lrp.graph import single_first_layer
from heatproof_lrp.lrp import Lrp
from heatproof_lrp.relevance import relevance_network

from_score = partial(Lrp, start="score")
"""Relevance that starts as the score, as in Zennit."""


def random_images(count: int = 2, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=generator)


def gap(actual: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the largest value."""
    return float((actual - expected).abs().max() / expected.abs().max())


def zennit_map(network: nn.Module, images: Tensor, targets: list[int], composite) -> Tensor:
    """The map of Zennit on the unchanged network, with relevance that starts as the scores."""
    with Gradient(network, composite) as attribution:
        _, relevance = attribution(
            images, lambda output: output.detach() * functional.one_hot(torch.tensor(targets), output.shape[1])
        )
    return relevance


def vgg16() -> nn.Module:
    network = models.vgg16(num_classes=3, init_weights=False)
    network.classifier = nn.Sequential(nn.Linear(25088, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 3))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def resnet50() -> nn.Module:
    return models.resnet50(num_classes=3)


def inceptionv3() -> nn.Module:
    return models.inception_v3(num_classes=3, aux_logits=False, transform_input=False, init_weights=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "size", "folded"), [(vgg16, 64, 0), (resnet50, 64, 53), (inceptionv3, 96, 94)],
    ids=["vgg16", "resnet50", "inceptionv3"],
)  # fmt: skip
def test_real_networks_conserve_relevance_and_agree_with_the_plain_implementation(
    plain_map, batch_of, calibrated, build, size, folded
):
    torch.manual_seed(0)
    batch = batch_of(calibrated(build(), size), random_images(2, size), [0, 2])
    assert len(batch.view.merged) == folded
    assert Lrp().verdict(batch.model).level == "exact"
    explanation = from_score(composite="epsilon_plus", zero_params="bias")(batch)
    assert explanation.notes["relevance_share"] == pytest.approx([1.0] * 2, abs=1e-4)
    assert gap(explanation.values, plain_map(batch, "epsilon_plus_ib")) <= 1e-8
    for preset, tolerance in (("z", 1e-7), ("alpha_2_beta_1_ib", 1e-8), ("sequential_preset_b_flat", 1e-8)):
        assert gap(from_score(preset=preset)(batch).values, plain_map(batch, preset)) <= tolerance


@pytest.mark.slow
def test_zennit_agrees_on_vgg16(batch_of):
    torch.manual_seed(0)
    batch = batch_of(vgg16().double().eval(), random_images(1, 64), [1])
    expected = zennit_map(batch.model.network, batch.images, [1], EpsilonPlusFlat(epsilon=0.1))
    assert gap(from_score(preset="sequential_preset_a_flat")(batch).values, expected) <= 1e-8


@pytest.mark.slow
def test_zennit_alone_doubles_relevance_at_every_addition_of_resnet50(batch_of, calibrated):
    torch.manual_seed(0)
    network = calibrated(resnet50(), 64)
    batch = batch_of(network, random_images(1, 64), [0])
    wrong = zennit_map(network, batch.images, [0], EpsilonPlus(zero_params="bias"))
    right = from_score(composite="epsilon_plus", zero_params="bias")(batch)
    assert float(wrong.sum() / batch.score(batch.images)) == pytest.approx(2**16, rel=1e-3)
    assert right.notes["relevance_share"] == pytest.approx([1.0], abs=1e-4)


def with_batch_norm() -> nn.Module:
    """A convolution, BatchNorm with a large eps, and a linear layer."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3)
    norm = nn.BatchNorm2d(4, eps=1e-3)
    norm.running_mean = torch.randn(4)
    norm.running_var = torch.rand(4) + 0.5
    return nn.Sequential(convolution, norm, nn.Flatten(), nn.Linear(4 * 36, 1, bias=False)).double().eval()


def test_merging_batch_norm_in_zennit_changes_the_output_before_version_1():
    """The merged layer keeps its eps and still divides by the root of 1 + eps; version 1.0 sets eps to zero."""
    network = with_batch_norm()
    images = random_images(2, 8)
    expected = network(images).detach()
    if version("zennit") < "1":
        expected = expected / (1 + 1e-3) ** 0.5
    with EpsilonPlus(canonizers=[SequentialMergeBatchNorm()]).context(network) as merged:
        assert gap(merged(images).detach(), expected) <= 1e-12


def test_the_folded_view_does_not_change_the_output(batch_of):
    network = with_batch_norm()
    images = random_images(2, 8)
    batch = batch_of(network, images, [0, 0], 1)
    expected = network(images).detach()[:, 0]
    assert gap(batch.score(images), expected) <= 1e-12
    actual = from_score(preset="z_ib")(batch).values.flatten(1).sum(1)
    assert actual.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


class Pooled(nn.Module):
    """A functional ReLU and average pool, and a linear layer with weights per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 16, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(functional.avg_pool2d(functional.relu(images), 2).flatten(1))


def test_zennit_spreads_relevance_evenly_over_a_functional_average_pool(batch_of):
    torch.manual_seed(0)
    network = Pooled().double()
    images = random_images(1, 8) - 0.5
    batch = batch_of(network, images, [0], 1)
    pooled = functional.avg_pool2d(images.relu(), 2)
    relevance = pooled * network.head.weight.detach().reshape(1, 3, 4, 4)
    uniform = functional.interpolate(relevance, scale_factor=2.0) / 4
    by_contribution = images.relu() / 4 * functional.interpolate(relevance / (pooled + 1e-300), scale_factor=2.0)
    wrong = zennit_map(network, images, [0], EpsilonPlus(epsilon=1e-15))
    assert gap(wrong, uniform * (images > 0)) <= 1e-12
    right = from_score(preset="z_ib", stabilizer=1e-15)(batch).values
    assert gap(right, by_contribution) <= 1e-6
    assert float(functional.cosine_similarity(right.flatten(), wrong.flatten(), dim=0)) < 0.95


def test_the_first_layer_is_the_one_that_reads_the_image(batch_of):
    """Zennit takes the first module by name, which in a traced network is the least nested."""
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("features", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()))
    network.add_module("flat", nn.Flatten())
    network.add_module("head", nn.Linear(4 * 16, 3))
    batch = batch_of(network.double().eval(), random_images(2, 8), [0, 1])
    right = from_score(composite="epsilon_plus_flat")(batch).values
    assert gap(right, zennit_map(network, batch.images, [0, 1], EpsilonPlusFlat())) <= 1e-12
    wrong = zennit_map(batch.view.module, batch.images, [0, 1], EpsilonPlusFlat())
    layers = [{"name": "head", "rule": "flat"}, {"kind": "weighted", "rule": "z_plus"}]
    assert gap(from_score(layers=layers)(batch).values, wrong) <= 1e-12
    assert gap(right, wrong) > 1e-2


class Gated(nn.Module):
    """Features with a squeeze-and-excitation gate; with ``swapped`` the gate is the first factor, as in torchvision."""

    def __init__(self, swapped: bool = False, constant: Tensor | None = None) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.squeeze = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4 * 36, 3)
        self.swapped = swapped
        self.constant = constant

    def forward(self, images: Tensor) -> Tensor:
        values = torch.relu(self.features(images))
        gate = torch.sigmoid(self.squeeze(values.mean((2, 3), keepdim=True)))
        if self.constant is not None:
            gate = self.constant
        product = gate * values if self.swapped else values * gate
        return self.head(product.flatten(1))


@pytest.mark.parametrize("swapped", [True, False])
def test_a_gate_counts_as_a_constant(batch_of, swapped):
    network = toys.drawn(Gated(swapped), 3).double()
    images = random_images(1, 8)
    batch = batch_of(network, images, [2])
    gate = torch.sigmoid(network.squeeze(torch.relu(network.features(images)).mean((2, 3), keepdim=True))).detach()
    frozen = Gated(swapped, gate).double()
    frozen.load_state_dict(network.state_dict())
    explanation = from_score(preset="z_ib")(batch)
    folded = nn.Sequential(network.features, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).double()
    folded[3].weight.data = network.head.weight.detach() * gate.expand(1, 4, 6, 6).flatten()
    folded[3].bias.data = network.head.bias.detach()
    assert explanation.notes["relevance_share"] == pytest.approx([1.0], abs=1e-4)
    assert gap(explanation.values, from_score(preset="z_ib")(batch_of(folded, images, [2])).values) <= 1e-6
    verdict = Lrp().verdict(batch.model)
    assert verdict.level == "approximate"
    assert verdict.reason.endswith("in products (Multiply) the gate counts as a constant")
    assert "Sigmoid" not in verdict.reason  # no relevance reaches it
    assert Lrp().verdict(batch_of(frozen, images, [2]).model).reason.endswith("unchanged")


class Transforming(nn.Module):
    """torchvision's ``transform_input`` before a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))

    def transformed(self, images: Tensor) -> Tensor:
        channels = [torch.unsqueeze(images[:, k], 1) * (0.2 + 0.1 * k) / 0.5 + (0.4 - 0.5) / 0.5 for k in range(3)]
        return torch.cat(channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.transformed(images))


def test_arithmetic_before_the_first_convolution_passes_relevance_on(batch_of):
    torch.manual_seed(0)
    network = Transforming().double()
    images = random_images(2, 8)
    batch = batch_of(network, images, [0, 1])
    inner = batch_of(network.network, network.transformed(images), [0, 1])
    for preset in ("z", "sequential_preset_b_flat"):
        assert gap(from_score(preset=preset)(batch).values, from_score(preset=preset)(inner).values) <= 1e-12
    verdict = Lrp().verdict(batch.model)
    assert verdict.level == "approximate"
    assert "constants (mul, truediv, add)" in verdict.reason


class Transposing(nn.Module):
    """A transpose, by an attribute or by a method, times a constant."""

    def __init__(self, transposed: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4 * 36, 3)
        self.transposed = transposed

    def forward(self, images: Tensor) -> Tensor:
        return self.head((self.transposed(self.first(images)) * 0.5).flatten(1))


def test_an_attribute_that_transposes_equals_the_method(batch_of):
    maps = []
    verdicts = []
    for transposed in (lambda values: values.mT, lambda values: values.transpose(2, 3)):
        torch.manual_seed(0)
        batch = batch_of(Transposing(transposed).double(), random_images(2, 8), [0, 1])
        maps.append(from_score(preset="z")(batch).values)
        verdicts.append(Lrp().verdict(batch.model))
    assert torch.equal(*maps)
    assert verdicts[0] == verdicts[1]
    assert "constants (mul)" in verdicts[0].reason


class Branching(nn.Module):
    """Control flow that depends on values, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 64, 3)

    def forward(self, images: Tensor) -> Tensor:
        if images.sum() > 0:
            return self.head(images.flatten(1))
        return self.head(-images.flatten(1))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Flatten(), nn.Linear(144, 3)), "through LeakyReLU"),
        (
            nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(192, 3)),
            r"BatchNorm .* cannot be merged into a convolution \(0\) passes",
        ),
        (
            nn.Sequential(*(nn.BatchNorm2d(3) for _ in range(5)), nn.Flatten(), nn.Linear(192, 3)),
            r"\(0, 1, 2 and 2 more\)",
        ),
        (nn.Sequential(nn.Upsample(9), nn.Flatten(), nn.Linear(243, 3)), "no rule exists for Upsample"),
    ],
)
def test_verdicts_name_layers_without_a_rule(batch_of, network, reason):
    batch = batch_of(network.double().eval(), random_images(2, 8), [0, 1])
    verdict = Lrp().verdict(batch.model)
    assert verdict.level == "approximate"
    assert re.search(reason, verdict.reason)
    assert from_score()(batch).values.isfinite().all()


class Aside(nn.Module):
    """Logits, and an output beside them for which no rule exists."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(144, 3)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.features(images).flatten(1)
        return {"logits": self.head(maps), "shares": maps.softmax(1)}


def test_a_verdict_looks_at_the_way_to_the_explained_output_only(batch_of):
    batch = batch_of(Aside().double(), random_images(2, 8), [0, 1])
    assert Lrp().verdict(batch.model).level == "exact"
    batch.model.outputs = ("shares",)
    batch.model.forget()
    assert "no rule exists for softmax" in Lrp().verdict(batch.model).reason


def test_a_network_that_cannot_be_traced_is_undefined(batch_of):
    batch = batch_of(Branching().double(), random_images(2, 8), [0, 1])
    assert Lrp().verdict(batch.model).level == "undefined"
    with pytest.raises(ModelError, match=r"cannot be traced .*, so no layer has a rule\.$"):
        from_score()(batch)


@pytest.mark.slow
def test_efficientnet_is_approximate_and_finite(batch_of, calibrated):
    torch.manual_seed(0)
    network = calibrated(pytest.importorskip("timm").create_model("efficientnet_b0", num_classes=3), 64)
    batch = batch_of(network, random_images(2, 64), [0, 2])
    verdict = Lrp().verdict(batch.model)
    assert verdict.level == "approximate"
    assert all(word in verdict.reason for word in ("SiLU", "Multiply"))
    for preset in ("z", "alpha_1_beta_0_ib", "sequential_preset_a_flat"):
        explanation = from_score(preset=preset)(batch)
        assert explanation.values.isfinite().all()
        assert explanation.notes["degenerate"] == [0.0, 0.0]


def test_passes_have_the_number_of_rows(batch_of, monkeypatch):
    calls = []
    forward = View.__call__
    batch = batch_of(toys.Residual().build().double(), random_images(3), [0, 1, 2])
    expected = from_score()(batch).values
    batch = Batch(batch.model, batch.ids, batch.images, batch.targets, rows=2)
    monkeypatch.setattr(
        View,
        "__call__",
        lambda *arguments, **settings: calls.append(len(arguments[1])) or forward(*arguments, **settings),
    )
    assert gap(from_score()(batch).values, expected) <= 1e-10
    assert calls == [2, 1, 2, 1]  # first the network above the first layer, then the first layer
    assert Lrp().passes == (1, 1)


SHARED = [
    ({"composite": "epsilon_plus"}, {"composite": "epsilon_plus_flat"}),
    ({"composite": "epsilon_alpha2_beta1"}, {"composite": "epsilon_alpha2_beta1_flat"}),
    ({"preset": "sequential_preset_b_flat"}, {"preset": "sequential_preset_b"}),
    ({"preset": "z_plus"}, {"preset": "alpha_1_beta_0_ib"}),
    (
        {"layers": [{"kind": "first", "rule": "flat"}, {"kind": "weighted", "rule": "z_plus"}]},
        {"layers": [{"kind": "first", "rule": "w_square"}, {"kind": "weighted", "rule": "z_plus"}]},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), SHARED)
def test_rules_that_differ_in_the_first_layer_share_the_rest(batch_of, first, second):
    """Both use one pass down to the first layer, and each map has the same bits as alone."""
    network = toys.Residual().build().double()
    calls = []
    batch = batch_of(network, random_images(), [0, 1])
    shared = [Lrp(**params)(batch).values for params in (first, second)]
    alone = [Lrp(**params)(batch_of(network, random_images(), [0, 1])).values for params in (first, second)]
    assert all(map(torch.equal, shared, alone))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lrp, "_above", lambda *arguments: calls.append(arguments) or 1 / 0)
        assert torch.equal(Lrp(**second)(batch).values, shared[1])
        with pytest.raises(ZeroDivisionError):
            Lrp(**second, start="score").explain(batch)
    assert len(calls) == 1


def test_two_layers_that_read_the_image_are_no_single_first_layer(batch_of):
    class TwoLayers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Conv2d(3, 4, 3)
            self.right = nn.Conv2d(3, 4, 3)
            self.head = nn.Linear(4, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.head((torch.relu(self.left(images)) + torch.relu(self.right(images))).mean((2, 3)))

    class Skipping(TwoLayers):
        def forward(self, images: Tensor) -> Tensor:
            values = self.left(images)
            return self.head(torch.cat([values[:, :1], images[:, :, 1:-1, 1:-1]], 1).mean((2, 3)))

    torch.manual_seed(1)
    for network in (TwoLayers(), Skipping()):
        view = batch_of(network.double().eval(), random_images(), [0, 1]).view
        assert single_first_layer(relevance_network(view.module), (nn.Conv2d, nn.Linear)) is None
    batch = batch_of(TwoLayers().double().eval(), random_images(), [0, 1])
    assert Lrp(preset="z_plus")(batch).notes["relevance_share"] == pytest.approx([1.0, 1.0], abs=1e-4)


def test_the_parameters_are_the_same_objects_afterwards(batch_of):
    batch = batch_of(toys.Residual().build().double(), random_images(), [0, 1])
    before = [id(parameter) for parameter in batch.view.module.parameters()]
    Lrp(preset="alpha_2_beta_1").explain(batch)
    assert [id(parameter) for parameter in batch.view.module.parameters()] == before
    assert all(parameter.grad is None for parameter in batch.view.module.parameters())


def test_memory_does_not_grow_over_200_calls(batch_of):
    batch = batch_of(toys.Piecewise().build(), random_images(1).float(), [0], 2)
    explainer = from_score(preset="z")
    counts = []
    for calls in (20, 180):
        for _ in range(calls):
            explainer.explain(batch)
        counts.append(len(gc.get_objects()))
    assert counts[1] - counts[0] < 200


@pytest.mark.slow
def test_the_rewritten_network_lives_as_long_as_the_view(batch_of):
    batch = batch_of(toys.Residual().build().double(), random_images(), [0, 1])
    Lrp().explain(batch)
    rewritten = weakref.ref(relevance_network(batch.view.module))
    view = weakref.ref(batch.view.module)
    assert rewritten() is relevance_network(batch.view.module)
    shared = {id(parameter) for parameter in batch.view.module.parameters()}
    assert {id(parameter) for parameter in rewritten().parameters()} == shared
    batch.model.forget()
    gc.collect()
    assert view() is None
    gc.collect()
    assert rewritten() is None


def test_an_image_without_relevance_is_degenerate(batch_of):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    images = torch.cat([random_images(1, 8), torch.zeros(1, 3, 8, 8, dtype=torch.float64)])
    explanation = from_score(preset="z")(batch_of(network.double(), images, [0, 1]))
    assert explanation.notes["degenerate"] == [0.0, 1.0]
    assert explanation.notes["relevance_share"][1] == 0.0


def test_an_unknown_output_is_an_error(batch_of):
    batch = batch_of(toys.Residual().build().double(), random_images(), [0, 1])
    batch.output = "mask"
    with pytest.raises(ModelError, match="has no output 'mask'; it has logits"):
        from_score()(batch)


def test_a_network_that_normalises_by_the_statistics_of_the_batch_is_refused(batch_of):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    model = batch_of(network.double().eval(), torch.randn(1, 3, 8, 8, dtype=torch.float64), [0]).model
    with pytest.raises(ModelError, match=r"couples the images of a batch: .* as '1' normalises by the statistics"):
        Lrp(preset="z", batch_norm="innvestigate").verdict(model)
