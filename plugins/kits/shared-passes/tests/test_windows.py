"""The scores of images with a replaced window: equal to those of full forwards, in pieces that fit the memory."""

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.views import Opaque, View
from heatproof.testing.toys import Residual
from heatproof_shared_passes import incremental
from heatproof_shared_passes.boxes import Windows
from heatproof_shared_passes.windows import window_scores


class Branching(nn.Module):
    """A network that fx cannot trace, since its forward depends on its values."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images)
        if values.sum() > -1e9:
            values = values.abs()
        return self.head(values.mean((2, 3)))


class Two(nn.Module):
    """A network with two outputs, one of them a mask as large as the image, and a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.mask = nn.Conv2d(4, 1, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor, bias: Tensor) -> dict[str, Tensor]:
        values = self.first(images)
        return {"mask": self.mask(values), "logits": self.head(values.relu().mean((2, 3)) + bias)}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    ).eval()  # fmt: skip


def random_batch(model: Model | None = None, count: int = 3, **changes: object) -> Batch:
    model = model or Model.of(network().double(), "abc")
    images = torch.rand(count, 3, 20, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Batch(model, list("abcde")[:count], images, [2, 0, 1, 2, 0][:count], **changes)


@torch.no_grad()
def full_scores(batch: Batch, windows: Windows, replacement: Tensor) -> Tensor:
    """The scores by one full forward of the network itself per image and window."""
    scores = []
    indices = list(itertools.product(*(range(count) for count in windows.shape)))
    replacements = replacement.expand_as(batch.images).split(1)
    for (single, pixels), index in itertools.product(zip(batch.singles(), replacements), indices):
        inside = (..., *(slice(span.low[i], span.high[i]) for span, i in zip(windows.spans, index)))
        image = single.images.clone()
        image[inside] = pixels[inside]
        outputs = batch.model.forward(image, **single.inputs)["logits"]
        scores.append(outputs[0, int(single.targets)])
    return torch.stack(scores).reshape(len(batch), -1)


def assert_agree(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


REPLACEMENTS = {
    "constant": torch.tensor(0.3, dtype=torch.float64),
    "colour": torch.rand(3, 3, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(5)),
    "images": torch.rand(3, 3, 20, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(6)),
}


@pytest.mark.parametrize("rows", [1, 2, None])
@pytest.mark.parametrize("name", REPLACEMENTS)
def test_scores_are_those_of_full_forwards(name, rows):
    batch = random_batch(rows=rows)
    windows = Windows.sliding((20, 24), 6, 4)
    scores = window_scores(batch, windows, REPLACEMENTS[name], name)
    assert scores.shape == (3, 5 * 6)
    assert_agree(scores, full_scores(batch, windows, REPLACEMENTS[name]))


def test_a_network_that_cannot_be_traced_runs_in_full():
    batch = random_batch(Model.of(Branching().double(), "abc"), rows=4)
    windows = Windows.sliding((20, 24), 7, 5)
    assert isinstance(batch.view, Opaque)
    scores = window_scores(batch, windows, REPLACEMENTS["images"], "images")
    assert_agree(scores, full_scores(batch, windows, REPLACEMENTS["images"]))


@pytest.mark.parametrize("names", [("mask", "logits"), ("logits", "mask")])
def test_further_inputs_and_outputs(names):
    bias = torch.rand(3, 4, dtype=torch.float64)
    batch = random_batch(Model.of(Two().double(), "abc", outputs=names), inputs={"bias": bias})
    windows = Windows.sliding((20, 24), 6, 6)
    scores = window_scores(batch, windows, REPLACEMENTS["colour"], "colour")
    assert_agree(scores, full_scores(batch, windows, REPLACEMENTS["colour"]))


def test_an_output_that_the_model_does_not_have():
    with pytest.raises(ModelError, match="has no output 'masks'; it has logits"):
        window_scores(random_batch(output="masks"), Windows.sliding((20, 24), 6, 6), torch.zeros(()), 0)


def test_a_target_outside_the_classes():
    batch = random_batch().at(targets=[0, 3, 1])
    with pytest.raises(ModelError, match="target 3 is outside the 3 classes"):
        window_scores(batch, Windows.sliding((20, 24), 6, 6), torch.zeros((), dtype=torch.float64), 0)


def test_a_single_logit_is_every_target():
    single = nn.Sequential(network(), nn.Linear(3, 1)).eval()
    batch = random_batch(Model.of(single.double(), "a")).at(targets=[4, 0, 0])
    windows = Windows.sliding((20, 24), 6, 6)
    scores = window_scores(batch, windows, REPLACEMENTS["constant"], 0)
    assert_agree(scores, full_scores(batch.at(targets=[0, 0, 0]), windows, REPLACEMENTS["constant"]))


def test_scores_are_shared_by_equal_windows_and_keys(monkeypatch):
    """The forward of each image itself runs once, and no other full forward."""
    batch = random_batch(count=2)
    windows = Windows.sliding((20, 24), 6, 4)
    assert isinstance(batch.view, View)
    runs = Counter()
    clean = incremental.Changes._forward
    full = View.__call__

    def counted_clean(*arguments):
        runs["clean"] += 1
        return clean(*arguments)

    def counted_full(*arguments, **settings):
        runs["full"] += 1
        return full(*arguments, **settings)

    monkeypatch.setattr(incremental.Changes, "_forward", counted_clean)
    monkeypatch.setattr(View, "__call__", counted_full)
    for _ in range(3):
        window_scores(batch, windows, REPLACEMENTS["constant"], "constant")
    assert runs == {"clean": 2}
    window_scores(batch, windows, REPLACEMENTS["constant"] + 1, "another constant")
    assert runs == {"clean": 4}
    window_scores(batch, Windows.sliding((20, 24), 6, 3), REPLACEMENTS["constant"], "constant")
    assert runs == {"clean": 6}


@pytest.mark.parametrize("method", ["boxes", "outputs"])
def test_out_of_memory_halves_the_number_of_windows(monkeypatch, method):
    sizes = []
    act = getattr(incremental.Changes, method)

    def limited(self, row, *arguments):
        size = len(range(7)[arguments[-1]])
        sizes.append(size)
        if size > 2:
            raise torch.OutOfMemoryError("too much")
        return act(self, row, *arguments)

    windows = Windows.sliding((20, 24), 6, 3)
    expected = full_scores(random_batch(count=1), windows, REPLACEMENTS["constant"])
    monkeypatch.setattr(incremental.Changes, method, limited)
    batch = random_batch(count=1, rows=4)
    assert_agree(window_scores(batch, windows, REPLACEMENTS["constant"], 0), expected)
    assert sizes[:6] == [7, 3, 1, 1, 1, 1]
    assert max(sizes[2:]) == 1
    assert batch.budget.halved
    assert not random_batch().budget.halved


def test_out_of_memory_for_one_window_is_raised(monkeypatch):
    def never(self, *arguments):
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(incremental.Changes, "outputs", never)
    with pytest.raises(torch.OutOfMemoryError):
        window_scores(random_batch(), Windows.sliding((20, 24), 6, 3), REPLACEMENTS["constant"], 0)


def test_windows_cover_the_image_and_end_at_its_far_border():
    windows = Windows.sliding((10, 9), 4, 3)
    assert windows.spans[0].low == (0, 3, 6)
    assert windows.spans[0].high == (4, 7, 10)
    assert windows.spans[1].low == (0, 3, 6)
    assert windows.spans[1].high == (4, 7, 9)
    assert Windows.sliding((448, 448), 32, 16).shape == (27, 27)
    assert Windows.sliding((5, 5), 5, 5).shape == (1, 1)
    assert Windows.sliding((9, 10), 2, 4).spans[1].low == (0, 4, 8)
    assert Windows.sliding((9, 10), 1, 10).shape == (1, 1)


def test_a_window_larger_than_the_image():
    with pytest.raises(
        ModelError, match="a window of 32 pixels is larger than the image, which has 40 x 28; make it 28"
    ):
        Windows.sliding((40, 28), 32, 16)


def test_scores_have_no_graph_and_weights_get_no_gradient():
    model = Residual()
    images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(2)]).requires_grad_()
    batch = Batch(model, list("ab"), images, [0, 1], differentiable=True)
    scores = window_scores(batch, Windows.sliding((16, 16), 4, 4), torch.zeros(()), 0)
    assert not scores.requires_grad
    assert all(parameter.grad is None for parameter in model.network.parameters())
