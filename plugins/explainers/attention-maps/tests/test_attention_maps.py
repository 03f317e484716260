"""Attention maps and AttnLRP against plain implementations, lxt and Zennit, and their verdicts on networks."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import SwinTransformer, VisionTransformer

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.explainer import Explainer
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof.records import Explanation
from heatproof.testing import conforms
from heatproof.testing.toys import drawn
from heatproof_attention_maps.attention_gradient import AttentionGradient
from heatproof_attention_maps.attention_lrp import AttentionLrp
from heatproof_attention_maps.attention_rollout import AttentionRollout
from heatproof_attention_maps.rules import Contribution, halved


class Vit(nn.Module):
    """A vision transformer in plain operations, with a class token and two blocks; each part can be left out."""

    def __init__(self, biased: bool = True, class_token: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8, bias=biased)
        self.token = nn.Parameter(torch.zeros(1, 1, 12)) if class_token else None
        self.positions = nn.Parameter(torch.zeros(1, 17, 12)) if class_token else None
        self.blocks = nn.ModuleList(Block(biased) for _ in range(2))
        self.norm = nn.LayerNorm(12, bias=biased)
        self.head = nn.Linear(12, 3, bias=biased)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], 1) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return self.head(tokens.mean(1) if self.token is None else tokens[:, 0])


class Block(nn.Module):
    """Self-attention of three heads and two linear layers, each behind a LayerNorm and added."""

    def __init__(self, biased: bool) -> None:
        super().__init__()
        self.first = nn.LayerNorm(12, bias=biased)
        self.joined = nn.Linear(12, 36, bias=biased)
        self.project = nn.Linear(12, 12, bias=biased)
        self.second = nn.LayerNorm(12, bias=biased)
        self.widen = nn.Linear(12, 24, bias=biased)
        self.gelu = nn.GELU()
        self.narrow = nn.Linear(24, 12, bias=biased)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = self.joined(self.first(tokens)).unflatten(-1, (3, 3, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.project(attended)
        return tokens + self.narrow(self.gelu(self.widen(self.second(tokens))))


def small(name: str, **settings: object) -> nn.Module:
    """A small transformer of timm."""
    usual = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3, "num_classes": 3}
    return timm.create_model(name, **usual | settings)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": Vit,
    "timm": lambda: small("vit_tiny_patch16_224"),
    "distilled": lambda: small("deit_tiny_distilled_patch16_224"),
    "registers": lambda: small("vit_small_patch14_reg4_dinov2"),
    "averaged": lambda: small("vit_medium_patch16_reg4_gap_256"),
    "wide": lambda: small("vit_tiny_patch16_224", img_size=(32, 48)),
    "pooled by attention": lambda: small("vit_base_patch16_siglip_224"),
    "torchvision": lambda: VisionTransformer(32, 8, 2, 3, 12, 24, num_classes=3),
    "swin of timm": lambda: timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=12, depths=(1, 1), num_heads=(2, 2),
        num_classes=3,
    ),
    "swin of torchvision": lambda: SwinTransformer([4, 4], 12, [1, 1], [2, 2], [4, 4], num_classes=3),
    "channels": lambda: small("xcit_nano_12_p16_224"),
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ),
}  # fmt: skip


def model_of(name: str) -> Model:
    """A small network with drawn weights in float64."""
    torch.manual_seed(0)
    network = drawn(NETWORKS[name](), 0).double().eval()
    return Model.of(network, ("a", "b", "c"), Resize(size=(32, 48) if name == "wide" else 32))


def images_of(model: Model) -> Tensor:
    size = model.size if isinstance(model.size, tuple) else (32, 32)
    return torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def explained(explainer: Explainer, model: Model, images: Tensor | None = None) -> Explanation:
    """The maps of two images, for the first and the third class."""
    images = images_of(model) if images is None else images
    return explainer(Batch(model, [str(row) for row in range(len(images))], images, [0, 2][: len(images)]))


@conforms(AttentionRollout(), model=model_of("plain"))
def test_conformance(check):
    check()


@pytest.mark.slow
@conforms(AttentionGradient(), AttentionLrp(), model=model_of("plain"))
def test_conformance_of_the_others(check):
    if check.name == "memory does not grow":
        pytest.skip("takes longer than all other laws together; it is tried with the rollout")
    check()


def attended(network: Vit, images: Tensor) -> tuple[list[Tensor], Tensor]:
    """The weights (n, head, token, token) of each block, part of the graph of the logits, and the logits."""
    tokens = network.patches(images).flatten(2).transpose(1, 2)
    tokens = torch.cat([network.token.expand(len(images), -1, -1), tokens], 1) + network.positions
    weights = []
    for block in network.blocks:
        parts = block.joined(block.first(tokens)).reshape(len(images), 17, 3, 3, 4)
        query, key, value = (parts[:, :, index].transpose(1, 2) for index in range(3))
        weights.append((query @ key.mT / 2).softmax(-1))
        result = (weights[-1] @ value).transpose(1, 2).reshape(len(images), 17, 12)
        tokens = tokens + block.project(result)
        tokens = tokens + block.narrow(functional.gelu(block.widen(block.second(tokens))))
    return weights, network.head(network.norm(tokens)[:, 0])


def plain_rollout(weights: list[np.ndarray], heads: str, discard: float, residual: float) -> np.ndarray:
    """The row of the class token, of the weights (head, token, token) of each block of one image."""
    product = np.eye(17)
    for attention in weights:
        fused = getattr(attention, heads)(0)
        smallest = sorted(range(17 * 17), key=lambda position: fused.flat[position])[: int(17 * 17 * discard)]
        for position in smallest:
            if position != 0:
                fused.flat[position] = 0
        mixture = np.array(
            [
                [(1 - residual) * fused[row, column] + residual * (row == column) for column in range(17)]
                for row in range(17)
            ]
        )
        product = (mixture / mixture.sum(1)[:, None]) @ product
    return product[0, 1:]


@pytest.mark.parametrize(
    "settings",
    [{}, {"heads": "max", "discard": 0.9}, {"heads": "min", "discard": 0.3, "residual": 0.2}, {"residual": 0.0}],
    ids=["paper", "max", "min", "no residual"],
)
def test_rollout_is_that_of_a_plain_implementation(settings):
    model = model_of("plain")
    with torch.no_grad():
        weights, _ = attended(model.network, images_of(model))
    actual = explained(AttentionRollout(interpolation="nearest", **settings), model).values[:, 0, ::8, ::8]
    for row in range(2):
        values = [attention[row].numpy().copy() for attention in weights]
        expected = plain_rollout(values, **{"heads": "mean", "discard": 0.0, "residual": 0.5} | settings)
        np.testing.assert_allclose(actual[row].flatten(), expected, rtol=1e-12)


def test_rollout_of_two_attentions_by_hand():
    """Two tokens: A1 = [[1, 0], [0.5, 0.5]] and A2 = [[0, 1], [1, 0]] give rows (0.625, 0.375) and (0.875, …)."""
    first, second = (
        AttentionRollout().mixed(torch.tensor([[rows]], dtype=torch.float64), protected=False)[0]
        for rows in ([[1, 0], [0.5, 0.5]], [[0, 1], [1, 0]])
    )
    assert (second @ first).tolist() == [[0.625, 0.375], [0.625, 0.375]]


def test_a_discarded_share_leaves_the_weight_of_the_class_token():
    weights = torch.tensor([[[[0.1, 0.9], [0.6, 0.4]]]], dtype=torch.float64)
    explainer = AttentionRollout(discard=0.5, residual=0)
    assert explainer.mixed(weights, protected=True)[0].tolist() == [[0.1, 0.9], [1, 0]]
    assert explainer.mixed(weights, protected=False)[0].tolist() == [[0, 1], [1, 0]]


def test_the_rows_of_a_rollout_sum_to_one_where_no_other_tokens_are():
    torch.manual_seed(0)
    network = drawn(Vit(class_token=False), 0).double().eval()
    model = Model.of(network, ("a", "b", "c"), Resize(size=32))
    values = explained(AttentionRollout(interpolation="nearest"), model).values
    torch.testing.assert_close(values.sum((1, 2, 3)) / 64, torch.ones(2, dtype=torch.float64))


def test_gradient_weighted_attention_is_that_of_the_authors_rules():
    """R = I, then R = R + mean over heads of max(gradient times attention, 0), times R, block by block."""
    model = model_of("plain")
    weights, logits = attended(model.network, images_of(model))
    gradients = torch.autograd.grad(logits[0, 0] + logits[1, 2], weights)
    actual = explained(AttentionGradient(interpolation="nearest"), model).values[:, 0, ::8, ::8]
    for row in range(2):
        relevance = torch.eye(17, dtype=torch.float64)
        for attention, gradient in zip(weights, gradients):
            relevance = relevance + (gradient[row] * attention[row]).clamp(min=0).mean(0) @ relevance
        torch.testing.assert_close(actual[row].flatten(), relevance[0, 1:].detach(), rtol=1e-10, atol=0)


DEFINED = ("plain", "timm", "distilled", "registers", "averaged", "wide", "torchvision")
REASONS = {
    "pooled by attention": ("pools the tokens by a query of its own", "exact", ""),
    "swin of timm": ("inside 4 windows", "exact", ""),
    "swin of torchvision": ("cannot be observed", "undefined", "inside one function"),
    "channels": ("is 4 × 4, not among its 17 tokens", "approximate", "normalize"),
    "convolutions": ("has no self-attention", "undefined", "use lrp"),
}


QUICK = ("plain", "distilled", "torchvision", "swin of timm", "swin of torchvision", "convolutions")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_verdicts(name):
    model = model_of(name)
    reason, level, remark = REASONS.get(name, ("", "exact", ""))
    for kind in (AttentionRollout, AttentionGradient):
        verdict = kind().verdict(model)
        assert verdict.level == ("exact" if name in DEFINED else "undefined")
        assert reason in verdict.reason
    verdict = AttentionLrp().verdict(model)
    assert verdict.level == level
    assert remark in verdict.reason
    usual = [AttentionLrp(), *(kind() for kind in (AttentionRollout, AttentionGradient) if name in DEFINED)]
    for explainer in usual if level != "undefined" else ():
        values = explained(explainer, model).values
        assert values.isfinite().all()
        assert (values.flatten(1).std(1) > 0).all()


@pytest.mark.parametrize(("name", "prefix", "read"), [("distilled", 2, (0, 1)), ("averaged", 4, tuple(range(4, 20)))])
def test_several_tokens_that_the_output_reads_share_the_map(name, prefix, read):
    model = model_of(name)
    layers = list(model.outline.attentions)
    batch = Batch(model, ["0", "1"], images_of(model), [0, 2])
    first, second = batch.forward(capture=layers)[1].values()
    mixed = [(weights.mean(1) + torch.eye(weights.shape[-1])) / 2 for weights in (first, second)]
    expected = (mixed[1] @ mixed[0])[:, list(read)].mean(1)[:, prefix:].reshape(2, 4, 4)
    actual = explained(AttentionRollout(interpolation="nearest"), model).values[:, 0, ::8, ::8]
    torch.testing.assert_close(actual, expected)


def test_images_of_another_size_are_refused():
    torch.manual_seed(0)
    network = drawn(Vit(class_token=False), 0).double().eval()
    model = Model.of(network, ("a", "b", "c"), Resize(size=32))
    assert explained(AttentionRollout(), model).values.shape == (2, 1, 32, 32)
    images = torch.rand(2, 3, 48, 48, dtype=torch.float64)
    with pytest.raises(ModelError, match="grid of tokens of Vit is not known for images of 48 × 48"):
        explained(AttentionRollout(), model, images)


TINY = 1e-13
EXACT = {"gamma": 0, "gamma_convolution": 0, "epsilon": 0}


def lxt_relevance(network: Vit, images: Tensor, targets: list[int]) -> Tensor:
    """The relevance of images by the functions of lxt, the authors' library, with epsilons that change nothing."""
    explicit = pytest.importorskip("lxt.explicit.functional")
    rules = pytest.importorskip("lxt.explicit.rules")

    def linear(layer: nn.Module, values: Tensor) -> Tensor:
        return explicit.linear_epsilon(values, layer.weight.flatten(1), layer.bias, TINY)

    def norm(layer: nn.LayerNorm, values: Tensor) -> Tensor:
        return explicit.layer_norm_grad_fn.apply(values, layer.weight, layer.bias, layer.eps, TINY)

    def add(first: Tensor, second: Tensor) -> Tensor:
        return explicit.add2(first, second, False, TINY)

    images = images.detach().requires_grad_()
    tokens = linear(network.patches, functional.unfold(images, 8, stride=8).transpose(1, 2))
    tokens = torch.cat([network.token.expand(len(images), -1, -1), tokens], 1)
    tokens = add(tokens, network.positions.expand(len(images), -1, -1))
    for block in network.blocks:
        parts = linear(block.joined, norm(block.first, tokens)).reshape(len(images), 17, 3, 3, 4)
        query, key, value = (parts[:, :, index].transpose(1, 2) for index in range(3))
        scores = explicit.mul2(explicit.matmul(query, key.mT, False, TINY), torch.tensor(0.5).double())
        result = explicit.matmul(explicit.softmax(scores, -1), value, False, TINY)
        tokens = add(tokens, linear(block.project, result.transpose(1, 2).reshape(len(images), 17, 12)))
        hidden = rules.identity(functional.gelu, linear(block.widen, norm(block.second, tokens)))
        tokens = add(tokens, linear(block.narrow, hidden))
    logits = linear(network.head, norm(network.norm, tokens)[:, 0])
    scores = logits[range(len(images)), targets]
    return torch.autograd.grad(scores, images, scores)[0]


def test_lxt_agrees():
    """Within 1e-6 in float64; its epsilons are added without the sign of what they stabilise."""
    model = model_of("plain")
    network = model.network.requires_grad_(False)
    expected = lxt_relevance(network, images_of(model), [0, 2])
    actual = explained(AttentionLrp(**EXACT), model).values
    assert bool((actual - expected).abs().amax((1, 2, 3)).le(1e-6 * expected.abs().amax((1, 2, 3))).all())


def test_relevance_is_complete_without_biases_and_with_constant_weights():
    """Nothing but biases, positions, other tokens and the softmax takes relevance away."""
    torch.manual_seed(0)
    network = drawn(Vit(biased=False, class_token=False), 0).double().eval()
    model = Model.of(network, ("a", "b", "c"), Resize(size=32))
    for gamma in (0.0, 0.25):
        settings = {"gamma": gamma, "gamma_convolution": gamma, "epsilon": 0, "softmax": "constant"}
        explanation = explained(AttentionLrp(**settings), model)
        scores = network(images_of(model))[[0, 1], [0, 2]].detach()
        torch.testing.assert_close(explanation.values.sum((1, 2, 3)), scores, rtol=1e-8, atol=0)
        np.testing.assert_allclose(explanation.notes["relevance_share"], 1, rtol=1e-8)
    share = explained(AttentionLrp(**EXACT), model).notes["relevance_share"]
    assert min(abs(value - 1) for value in share) > 1e-3


def test_both_factors_of_a_product_share_its_relevance():
    first = torch.randn(2, 3, 4, dtype=torch.float64).requires_grad_()
    second = torch.randn(2, 4, 5, dtype=torch.float64).requires_grad_()
    product = halved(first) @ halved(second)
    gradients = torch.autograd.grad(product.sum(), [first, second])
    for factor, gradient in zip((first, second), gradients):
        torch.testing.assert_close((factor * gradient).sum(), product.sum() / 2)


@pytest.mark.parametrize("layer", [nn.Linear(6, 4), nn.Conv2d(2, 3, 2, stride=2)], ids=["linear", "convolution"])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_rules_of_layers_are_those_of_zennit(layer, gamma):
    zennit = pytest.importorskip("zennit.rules")
    layer = drawn(layer, 0).double()
    shape = (5, 6) if isinstance(layer, nn.Linear) else (5, 2, 4, 4)
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    relevance = torch.randn(layer(values).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hook = zennit.Gamma(gamma, stabilizer=1e-6) if gamma else zennit.Epsilon(1e-6)
    handle = hook.register(layer)
    (expected,) = torch.autograd.grad(layer(values), values, relevance)
    handle.remove()
    output = Contribution.apply(values, layer, gamma, 1e-6)
    (gradient,) = torch.autograd.grad(output, values, relevance / output.detach())
    torch.testing.assert_close(values * gradient, expected, rtol=1e-8, atol=1e-12)
