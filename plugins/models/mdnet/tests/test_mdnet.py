"""MDNet: its report against a plain computation word by word, its maps of attention, and its vocabulary."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from heatproof.batch import Batch
from heatproof.errors import DataError, HeatproofError, ModelError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.records import Array, Sample
from heatproof.registry.catalog import default
from heatproof.testing import conforms
from heatproof_mdnet.mdnet import MDNet
from heatproof_mdnet.network import ReportNetwork, Sizes, residual_features

WORDS = ("nuclei", "large", "crowded", "polarity", "lost")
VERDICTS = {"iterative": "undefined", "cam": "exact", "gradcam": "exact", "lrp": "exact", "guided_backprop": "exact"}


def small(**params: Any) -> MDNet:
    sizes = {"size": 48, "channels": (4, 6, 8), "blocks": (1, 2, 1), "length": 4, "units": 6}
    return MDNet(**(sizes | {"vocabulary": WORDS} | params))


def sized(classes: int, tokens: int, length: int, units: int) -> Sizes:
    return Sizes((4, 6), (1, 1), classes, tokens, length, units)


@pytest.fixture(scope="module")
def model() -> MDNet:
    """A small network in float64 whose words differ, unlike those of weights as they are drawn first."""
    precise = small().in_precision("float64")
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for name in ("vectors.weight", "word.weight", "recurrence.weight_ih", "attention.energy.weight"):
            value = precise.network.get_parameter(name)
            value.copy_(torch.randn(value.shape, generator=generator))
    precise.renew()
    return precise


def images(count: int = 3, size: int = 48, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5), dtype=dtype)


@conforms(small())
def test_conformance(check: Callable[[], None]) -> None:
    check()


def logistic(values: Array) -> Array:
    return 1 / (1 + np.exp(-values))


def described(
    state: Mapping[str, Array], features: Array, length: int, words: list[int] | None
) -> dict[str, list[Any]]:
    """The report on features (channel, cell): shares, word scores and words, with every gate written out."""
    mean = features.mean(1)
    hidden = np.tanh(state["state.weight"] @ mean + state["state.bias"])
    memory = np.tanh(state["memory.weight"] @ mean + state["memory.bias"])
    word = 0
    report: dict[str, list[Any]] = {"attention": [], "word_logits": [], "words": []}
    for position in range(length):
        energies = []
        for cell in features.T:
            key = state["attention.cell.weight"] @ cell + state["attention.cell.bias"]
            mixed = np.tanh(key + state["attention.state.weight"] @ hidden)
            energies.append(float(state["attention.energy.weight"][0] @ mixed))
        shares = np.exp(np.array(energies) - max(energies))
        shares /= shares.sum()
        inputs = np.concatenate([state["vectors.weight"][word], features @ shares])
        gates = state["recurrence.weight_ih"] @ inputs + state["recurrence.bias_ih"]
        gates = gates + state["recurrence.weight_hh"] @ hidden + state["recurrence.bias_hh"]
        entry, forget, cell_gate, output = np.split(gates, 4)
        memory = logistic(forget) * memory + logistic(entry) * np.tanh(cell_gate)
        hidden = logistic(output) * np.tanh(memory)
        scores = state["word.weight"] @ hidden + state["word.bias"]
        report["attention"].append(shares)
        report["word_logits"].append(scores)
        report["words"].append(int(scores.argmax()))
        word = report["words"][-1] if words is None else words[position]
    return report


@pytest.mark.parametrize("known", [False, True], ids=["greedy", "teacher forcing"])
@torch.no_grad()
def test_reports_are_those_of_the_plain_computation(model: MDNet, known: bool) -> None:
    network = model.network
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    words = model.tokens(["lost polarity", "large crowded nuclei large", ""]) if known else None
    outputs = network(images(), words)
    features = network.features(images()).flatten(2).numpy()
    for row in range(3):
        known_words = None if words is None else words[row].tolist()
        for name, expected in described(state, features[row], 4, known_words).items():
            actual = outputs[name][row].flatten(1) if name == "attention" else outputs[name][row]
            np.testing.assert_allclose(actual.numpy(), np.array(expected), rtol=1e-11, atol=1e-12, err_msg=name)
    pooled = features.mean(2) @ state["classifier.weight"].T + state["classifier.bias"]
    np.testing.assert_allclose(outputs["logits"].numpy(), pooled, rtol=1e-12)
    assert len(outputs["words"].unique()) > 1


@torch.no_grad()
def test_every_map_sums_to_1_and_is_uniform_where_all_cells_are_alike(model: MDNet) -> None:
    attention = model.forward(images(2))["attention"]
    assert attention.shape == (2, 4, 3, 3)
    assert bool((attention >= 0).all())
    torch.testing.assert_close(attention.sum((2, 3)), torch.ones(2, 4).double(), rtol=0, atol=1e-14)
    assert float(attention.std((2, 3)).min()) > 1e-4
    network = ReportNetwork(sized(2, 6, 4, 6)).double().eval()
    network.features = nn.Identity()
    alike = network(torch.randn(1, 6, 1, 1).double().expand(1, 6, 3, 5))["attention"]
    torch.testing.assert_close(alike, torch.full((1, 4, 3, 5), 1 / 15, dtype=torch.float64), rtol=0, atol=1e-15)


@torch.no_grad()
def test_an_image_always_gets_the_same_report(model: MDNet) -> None:
    outputs = model.forward(images())
    assert all(torch.equal(value, again) for value, again in zip(outputs.values(), model.forward(images()).values()))
    assert torch.equal(outputs["words"][2:], model.forward(images()[2:])["words"])
    view, _ = model.view(images(), {})(images(), {})
    assert torch.equal(view["words"], outputs["words"])
    torch.testing.assert_close(view["attention"], outputs["attention"], rtol=1e-9, atol=1e-12)


def test_attention_is_offered_to_explainers(model: MDNet) -> None:
    assert "attention" in model.capabilities
    assert model.attention_names == ("word_1", "word_2", "word_3", "word_4")
    assert model.outputs[:2] == ("logits", "attention")
    assert model.last_layer == "features"


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    network = ReportNetwork(sized(2, 4, 3, 5))
    network.features = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.Tanh())
    network = network.double().eval()
    names = [name for name, _ in network.named_parameters()]
    words = torch.tensor([[2, 1, 0]])

    def outputs(image: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        values = torch.func.functional_call(network, dict(zip(names, weights)), (image, words))
        return values["logits"], values["attention"], values["word_logits"]

    tensors = [torch.randn(1, 3, 7, 7).double(), *(value.detach() for value in network.parameters())]
    leaves = [value.requires_grad_() for value in tensors]
    assert torch.autograd.gradcheck(outputs, leaves, fast_mode=True, atol=1e-7)


def test_the_loss_of_a_known_report_falls() -> None:
    torch.manual_seed(0)
    model = small()
    network = ReportNetwork(sized(2, 6, 4, 16))
    network.features = nn.Sequential(nn.AvgPool2d(16), nn.Conv2d(3, 6, 1))
    reports = ["nuclei large", "polarity lost", "nuclei crowded"]
    tokens = model.tokens(reports)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    losses = []
    for _ in range(80):
        scores = network(images(dtype=torch.float32), tokens)["word_logits"]
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), tokens.flatten())
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        words = network.eval()(images(dtype=torch.float32))["words"]
    assert [model.report(row) for row in words] == reports


@pytest.mark.parametrize(("explainer", "layers"), [("gradcam", ("features",)), ("guided_backprop", ()), ("lrp", ())])
def test_heatmaps_of_a_class_are_those_of_the_classifier_alone(
    model: MDNet, explainer: str, layers: tuple[str, ...]
) -> None:
    network = model.network
    alone = nn.Sequential(network.features, network.pool, network.flatten, network.classifier)
    plain = Model.of(alone, model.classes, model.preparation)
    catalog = default()
    method: Explainer = catalog.load(catalog.resolve("explainer", explainer))()
    assert method.verdict(model).level == "exact"
    maps = []
    for subject, names in ((model, layers), (plain, ("0",) * len(layers))):
        maps.append(_values(method(Batch(subject, ["a", "b", "c"], images(), [0, 1, 3], layers=names))))
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-10, atol=1e-14)
    assert bool(maps[0].any())


def _values(explanation: Any) -> Tensor:
    return getattr(explanation, "values", explanation) if not isinstance(explanation, Tensor) else explanation


def test_the_features_are_those_of_a_published_network() -> None:
    published = resnet18(weights=None)
    published.fc = nn.Identity()
    features = residual_features((64, 128, 256, 512), (2, 2, 2, 2))
    assert list(features.state_dict()) == list(published.state_dict())
    features.load_state_dict(published.state_dict())
    batch = images(1, 32, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(features.eval()(batch).mean((2, 3)), published.eval()(batch))


def test_words_become_tokens_and_tokens_a_report(tmp_path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    model = small(vocabulary=tmp_path / "words.txt")
    assert model.vocabulary == WORDS
    assert model.tokens(["large nuclei", ""]).tolist() == [[2, 1, 0, 0], [0, 0, 0, 0]]
    assert [model.report(row) for row in ([2, 1, 0, 3], [0, 1, 1, 1], [5, 5, 5, 5])] == [
        "large nuclei", "", "lost lost lost lost",
    ]  # fmt: skip
    identity = model.identity
    (tmp_path / "words.txt").write_text("\n".join(reversed(WORDS)), encoding="utf-8")
    assert small(vocabulary=tmp_path / "words.txt").identity != identity
    assert model.vocabulary == WORDS[::-1]
    with pytest.raises(ModelError, match=r"has no word 'nuclea'; did you mean 'nuclei'"):
        model.tokens(["large nuclea"])
    with pytest.raises(ModelError, match=r"a report has 5 words, MDNet writes 4; set length to more"):
        model.tokens(["large large large large large"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"large\nlarge\n", r"words.txt has 'large' twice; give each word once; one word per line"),
        (b"very large\n", r"has 'very large', which is no single word"),
        (b"\n \n", r"words.txt is empty; give one word per line"),
        (b"\xff\xfe", r"words.txt .* one word per line, in UTF-8"),
        (None, r"words.txt cannot be read \(No such file or directory\); correct the path"),
    ],
    ids=["twice", "spaces", "empty", "bytes", "missing"],
)
def test_files_that_list_no_words_are_refused(tmp_path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        small(vocabulary=tmp_path / "words.txt").build()


def test_settings_that_cannot_be_are_refused(tmp_path) -> None:
    with pytest.raises(HeatproofError, match=r"vocabulary.*has 'large' twice"):
        small(vocabulary=("large", "large"))
    torch.save(small().build().state_dict(), tmp_path / "small.pt")
    with pytest.raises(ModelError, match=r"another vocabulary, or other units, than the 2 words and 6 units of MDNet"):
        small(vocabulary=("nuclei", "large"), weights=tmp_path / "small.pt").build()
    with pytest.raises(ModelError, match=r"keys missing: 10 \(such as 'features\.layer1\.1"):
        small(blocks=(2, 2, 1), weights=tmp_path / "small.pt").build()
    with pytest.raises(HeatproofError, match=r"channels are those of 3 stages, blocks those of 1 .*; give as many"):
        small(blocks=(1,))
    with pytest.raises(DataError, match=r"has 3 spatial axes, but size is \(48, 48\); give images of 2 axes"):
        small().prepare(Sample("a", np.zeros((1, 4, 4, 4), np.uint8)))
    longer = small(length=9, weights=tmp_path / "small.pt").build()
    assert longer(images(1, dtype=torch.float32))["words"].shape == (1, 9)


@pytest.mark.slow
def test_every_explainer_has_a_verdict(verdicts: Any) -> None:
    for name, verdict in verdicts(small()).items():
        assert verdict.level == VERDICTS.get(name, verdict.level), name
        assert bool(verdict.reason) == (verdict.level != "exact"), name
