"""The network for gaze: against the published one written plainly, in batches of many lengths, and on bad input."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.config.settings import from_plain
from heatproof.errors import ConfigError, DataError, HeatproofError, ModelError
from heatproof.passes import gradients
from heatproof.plan.plan import make_plan
from heatproof.records import Sample
from heatproof.registry.catalog import default
from heatproof.testing import conforms
from heatproof_eyetracking.gaze import Frames, counted, linear, viridis_luma
from heatproof_gaze_temporal.gaze_temporal import GazeTemporal
from heatproof_gaze_temporal.network import MEAN, STD, GazeNetwork

LENGTHS = (3, 1, 7)
SHAPE = (30, 26)
VERDICTS = {"cam": "undefined", "iterative": "undefined", "lrp": "approximate"}


def native(length: int, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 200, (1, *SHAPE)).astype(np.uint16)
    frames = counted(rng.random((length, 2)) * SHAPE, SHAPE, sigma=3.0)
    return Sample(f"s{seed}", image, label=0, extras={"gaze_frames": frames})


def small(**params: Any) -> GazeTemporal:
    return GazeTemporal(**({"size": 20, "hidden": (12, 8), "embedding": 6} | params))


@pytest.fixture(scope="module")
def model() -> GazeTemporal:
    """A small network in float64, with statistics as training leaves them."""
    precise = small().in_precision("float64")
    generator = torch.Generator().manual_seed(3)
    for name, value in precise.network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return precise


def inputs(model: GazeTemporal, lengths: Sequence[int] = LENGTHS) -> tuple[Tensor, dict[str, Tensor]]:
    samples = [model.prepare(native(length, seed)) for seed, length in enumerate(lengths)]
    collated = model.collate(samples)
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).double()
    return images, {"frames": collated["frames"].double(), "mask": collated["mask"]}


@conforms(small(), sample=native(4))
def test_conformance(check: Callable[[], None]) -> None:
    check()


class Published(nn.Module):
    """The network of Karargyris et al. 2021 for one image and its frames, by the names of their code."""

    def __init__(self, size: int, hidden: Sequence[int], embedding: int):
        super().__init__()
        self.image_encoder = self.encoder(size, hidden, embedding)
        self.heatmap_cnn = self.encoder(size, hidden, embedding)
        self.heatmap_rnn = nn.Module()
        self.heatmap_rnn.rnn = nn.LSTM(embedding, hidden[-1] // 2, bidirectional=True, batch_first=True)
        self.heatmap_rnn.dense = nn.Linear(hidden[-1], embedding)
        self.classifier = nn.Module()
        self.classifier.fc = nn.Linear(2 * embedding, 3)

    def encoder(self, size: int, hidden: Sequence[int], embedding: int) -> nn.Module:
        part = nn.Module()
        part.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        part.batch1 = nn.BatchNorm2d(64)
        widths = [64 * math.ceil(size / 4) ** 2, *hidden]
        part.dense_layers = nn.ModuleList()
        for inputs, outputs in zip(widths, hidden):
            part.dense_layers.extend([nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)])
        part.final_dense = nn.Linear(widths[-1], embedding)
        return part

    def embedded(self, part: Any, images: Tensor) -> Tensor:
        maps = functional.max_pool2d(part.batch1(functional.relu(part.conv1(images))), 3, 2, 1)
        values = maps.reshape(len(images), -1)
        for dense, norm in zip(part.dense_layers[::2], part.dense_layers[1::2]):
            values = functional.relu(norm(dense(values)))
        return part.final_dense(values)

    def forward(self, image: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """An image (3, h, w) and its frames (t, h, w) in 0 … 1 → logits (class,) and shares (t,)."""
        # The constants are of float32 there, too.
        mean, std = (torch.tensor(values, dtype=torch.float32).double()[:, None, None] for values in (MEAN, STD))
        sequence = [self.embedded(self.heatmap_cnn, (frame.repeat(3, 1, 1)[None] - mean) / std) for frame in frames]
        states, (last, _) = self.heatmap_rnn.rnn(torch.cat(sequence)[None])
        query = torch.cat([last[1, 0], last[0, 0]])
        energies = [float(query @ state) / math.sqrt(len(query) / 2) for state in states[0]]
        shares = torch.tensor([math.exp(energy) for energy in energies], dtype=torch.float64)
        shares = shares / shares.sum()
        context = self.heatmap_rnn.dense(sum(share * state for share, state in zip(shares, states[0])))
        return self.classifier.fc(torch.cat([self.embedded(self.image_encoder, image[None])[0], context])), shares


@torch.no_grad()
def test_a_checkpoint_of_the_authors_code_gives_their_outputs_for_every_length(model: GazeTemporal, tmp_path) -> None:
    torch.manual_seed(5)
    published = Published(20, (12, 8), 6).double().eval()
    for name, value in published.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(0.5 + torch.rand_like(value))
    torch.save(published.state_dict(), tmp_path / "authors.pt")
    ours = small(weights=tmp_path / "authors.pt").in_precision("float64")
    network = ours.network
    assert "read through the names of the authors' code" in ours.notices()[0]
    # The checkpoint was rounded to float32 on its way.
    published.load_state_dict({name: value.float() for name, value in published.state_dict().items()})
    images, collated = inputs(model)
    outputs = network(images, **collated)
    for row, length in enumerate(LENGTHS):
        logits, shares = published(images[row], collated["frames"][row, :length])
        torch.testing.assert_close(outputs["logits"][row], logits, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(outputs["frame_attention"][row, :length], shares, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_a_sample_does_not_depend_on_the_others_of_its_batch(model: GazeTemporal) -> None:
    images, collated = inputs(model)
    together = model.forward(images, **collated)
    attention = together["frame_attention"]
    torch.testing.assert_close(attention.sum(1), torch.ones(3).double(), rtol=0, atol=1e-14)
    assert bool((attention[collated["mask"]] > 0).all())
    assert not attention[~collated["mask"]].any()
    assert attention[1, 0] == 1
    for row, length in enumerate(LENGTHS):
        single = {"frames": collated["frames"][[row], :length], "mask": collated["mask"][[row], :length]}
        alone = model.forward(images[[row]], **single)
        torch.testing.assert_close(together["logits"][row], alone["logits"][0], rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(attention[row, :length], alone["frame_attention"][0], rtol=1e-13, atol=1e-13)
    rubbish = {**collated, "frames": collated["frames"].masked_fill(~collated["mask"][..., None, None], math.nan)}
    assert torch.equal(model.forward(images, **rubbish)["logits"], together["logits"])
    order = [2, 0, 1]
    turned = model.forward(images[order], **{name: value[order] for name, value in collated.items()})["logits"]
    torch.testing.assert_close(turned, together["logits"][order], rtol=1e-13, atol=1e-13)


def test_training_sees_no_frames_that_fill_up_a_sequence() -> None:
    network = GazeNetwork(8, (6,), 4, 0.0, 2).double().train()
    frames = torch.rand(2, 3, 8, 8).double()
    mask = torch.tensor([[True, True, True], [True, True, False]])
    longer = torch.cat([frames, torch.full((2, 4, 8, 8), 9.0).double()], 1)
    outputs = []
    for values in (frames, longer):
        torch.nn.init.zeros_(network.frame.norm.running_mean)
        filled = functional.pad(mask, (0, values.shape[1] - 3))
        outputs.append((network(torch.ones(2, 3, 8, 8).double(), values, filled), network.frame.norm.running_mean + 0))
    torch.testing.assert_close(outputs[0][0]["logits"], outputs[1][0]["logits"], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(outputs[0][1], outputs[1][1], rtol=1e-13, atol=1e-13)


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(1)
    network = GazeNetwork(8, (6,), 4, 0.0, 2).double().eval()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    names = [name for name, _ in network.named_parameters()]

    def outputs(images: Tensor, frames: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        changed = dict(zip(names, weights))
        values = torch.func.functional_call(network, changed, (images, frames, mask))
        return values["logits"], values["frame_attention"]

    leaves = (torch.rand(2, 3, 8, 8).double(), torch.rand(2, 3, 8, 8).double())
    tensors = [value.detach().requires_grad_() for value in (*leaves, *network.parameters())]
    assert torch.autograd.gradcheck(outputs, tensors, fast_mode=True, atol=1e-7)


def test_every_frame_is_scaled_by_itself_and_moves_with_the_image() -> None:
    sample = native(2)
    expected = {"linear": linear, "viridis_luma": viridis_luma}
    prepared = small().prepare(sample)
    frames = prepared.extras["gaze_frames"].values()
    array = Sample("a", sample.image, extras={"gaze_frames": sample.extras["gaze_frames"].values()})
    for scale, function in expected.items():
        model = small(scale=scale)
        values = model.collate([prepared])["frames"][0].numpy()
        np.testing.assert_allclose(values, np.stack([function(frame) for frame in frames]), atol=1e-6)
        np.testing.assert_allclose(values, model.collate([model.prepare(array)])["frames"][0].numpy(), atol=1e-6)


EMPTY = Frames((np.zeros((0, 20)), np.zeros((0, 20))))


def test_images_and_frames_are_prepared_as_in_the_published_training() -> None:
    sample = Sample("a", np.array([[[0, 50], [100, 200]]], dtype=np.uint8))
    grey = np.array([[0, 0.25], [0.5, 1]])
    for channel, (mean, std) in enumerate(zip(MEAN, STD)):
        np.testing.assert_allclose(small(size=2).prepare(sample).image[channel], (grey - mean) / std, rtol=1e-6)
    with pytest.raises(DataError, match="has 3 spatial axes"):
        small().prepare(Sample("a", np.zeros((1, 4, 4, 4), np.uint8)))


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ({}, "s has no extra 'gaze_frames', which GazeTemporal reads; set frames: true of the dataset"),
        ({"gaze_frames": EMPTY}, "s has no frame of gaze, .* attention over no frames is not defined; leave the"),
        ({"gaze_frames": np.ones((2, 9, 9))}, r"shape \(2, 9, 9\) for an image \(20, 20\); give \(frames, height"),
        ({"gaze_frames": np.ones((20, 20))}, r"shape \(20, 20\) for an image \(20, 20\)"),
        ({"gaze_frames": np.full((1, 20, 20), np.inf)}, "gaze frames of s hold values that are not finite"),
    ],
    ids=["missing", "none", "another size", "one map", "infinite"],
)
def test_frames_that_cannot_be_read_are_refused(extras: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        small().collate([Sample("s", np.zeros((3, 20, 20), np.float32), extras=extras)])


def test_settings_that_cannot_be_are_refused(tmp_path) -> None:
    with pytest.raises(HeatproofError, match=r"ends with 9, which two directions cannot share .*; give an even last"):
        small(hidden=(9,))
    torch.save(small().build().state_dict(), tmp_path / "small.pt")
    with pytest.raises(ModelError, match=r"does not fit the network: 'image\.embedding\.weight' has shape \(6, 8\)"):
        small(embedding=5, weights=tmp_path / "small.pt").build()
    with pytest.raises(ModelError, match="has 3 outputs, the network 2"):
        small(classes=("ill", "healthy"), weights=tmp_path / "small.pt").build()
    with pytest.raises(ModelError, match=r"keys missing: 0, unknown: 12 \(such as '(frame|image)\.hidden\.3"):
        GazeTemporal(size=20, hidden=(12,), embedding=6, weights=tmp_path / "small.pt").build()


def test_gradcam_layers_lie_over_the_image(model: GazeTemporal) -> None:
    images, collated = inputs(model)
    batch = Batch(model, ["a", "b", "c"], images, [0, 1, 2], inputs=collated, layers=model.layers())
    layer = gradients(batch).layers[model.last_layer]
    maps = model.network.image.activation(model.network.image.convolution(images)).detach().requires_grad_()
    encoder = model.network.image
    embedding = encoder.embedding(encoder.hidden(encoder.flatten(encoder.pool(encoder.norm(maps)))))
    weight = model.network.classifier.weight[:, :6]
    (expected,) = torch.autograd.grad((embedding * weight).sum(), maps)
    torch.testing.assert_close(layer.activation, maps.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.gradient, expected, rtol=1e-10, atol=1e-12)
    assert model.layer("image.norm") == "image.norm"
    with pytest.raises(ModelError, match=r"layer 'frame\.convolution' of GazeTemporal lies over the frames of gaze"):
        model.layer("frame.convolution")


@pytest.mark.slow
def test_every_explainer_has_a_verdict(model: GazeTemporal, verdicts: Any) -> None:
    for name, verdict in verdicts(model).items():
        assert verdict.level == VERDICTS.get(name, verdict.level), name
        assert bool(verdict.reason) == (verdict.level != "exact"), name


def test_a_dataset_without_frames_is_refused_before_the_run(tmp_path) -> None:
    pytest.importorskip("heatproof_phantom.phantom", reason="the phantom dataset is not installed")
    catalog = default()
    model = {"use": "gaze_temporal", "size": 20, "hidden": [8], "embedding": 6}
    plans = []
    for subject in ("chest", "eye"):
        dataset = {"use": "phantom", "subject": subject, "patients": 10, "height": 128, "split": "test"}
        settings = {"datasets": [dataset], "models": [model], "explainers": ["gradcam"], "output": str(tmp_path)}
        config = from_plain(settings, catalog)
        with (
            nullcontext() if subject == "chest" else pytest.raises(ConfigError, match=r"reads gaze_frames of each sam")
        ):
            plans.append(make_plan(config, catalog))
    assert [row.explainer.short for row in plans[0].combinations] == ["gradcam"]
