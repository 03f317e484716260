"""Batches: shared results, other images and targets, fewer samples, scores in pieces, and seeded noise."""

import numpy as np
import pytest
import torch
from torch import nn

from heatproof.batch import Batch
from heatproof.errors import ModelError
from heatproof.model import Model
from heatproof.network.views import View
from heatproof.passes import gradients, logits


class Sums(Model):
    """Logit k is (k + 1) times the sum of the image."""

    classes = ("one", "two", "three")

    def build(self) -> nn.Module:
        layer = nn.Linear(12, 3, bias=False)
        layer.weight.data = torch.arange(1.0, 4.0)[:, None].expand(3, 12).clone()
        return nn.Sequential(nn.Flatten(), layer).double()


class Single(Sums):
    """One logit of several grades."""

    head = "ordinal"

    def build(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 1))


class Two(Sums):
    """Two outputs."""

    outputs = ("logits", "other")


class Named(nn.Module):
    """Two outputs by name, of which the first is explained."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 3, bias=False)

    def forward(self, images):
        values = self.layer(images.flatten(1))
        return {"out": values, "aux": values[:, :1]}


def test_an_output_of_another_name_is_explained_if_the_model_names_it():
    images = torch.rand(2, 3, 2, 2)
    network = Named()
    batch = Batch(Model.of(network, "abc", outputs=("out", "aux")), "ab", images, [0, 1])
    torch.testing.assert_close(logits(batch), network(images)["out"].detach())
    with pytest.raises(ModelError, match=r"no output 'logits'; it has out, aux\. Name them in the model's outputs"):
        logits(Batch(Model.of(network, "abc"), "ab", images, [0, 1]))


def new_batch(count=5, **changes):
    settings = {"targets": [index % 3 for index in range(count)], "rows": 2, "seed": 7}
    images = torch.arange(12.0 * count, dtype=torch.float64).reshape(count, 3, 2, 2)
    return Batch(Sums(), [f"id-{index}" for index in range(count)], images, **settings | changes)


def expected(images, targets):
    return (torch.as_tensor(targets) + 1) * images.flatten(1).sum(1)


def test_a_result_is_computed_once_per_key():
    calls = []
    batch = new_batch()
    results = [batch.once(key, lambda: calls.append(1) or len(calls)) for key in ("a", "a", ("b", 1), ("b", 1))]
    assert results == [1, 1, 2, 2]


def test_a_differentiable_batch_keeps_nothing():
    calls = []
    batch = new_batch(differentiable=True)
    assert [batch.once("a", lambda: calls.append(1) or len(calls)) for _ in range(2)] == [1, 2]


def test_at_keeps_the_samples_and_drops_the_results():
    batch = new_batch(output="logits", layers=())
    batch.once("a", lambda: 1)
    moved = batch.at(batch.images + 1, targets=[2] * 5)
    assert moved.ids == batch.ids
    assert (moved.rows, moved.seed, moved.output) == (batch.rows, batch.seed, batch.output)
    assert moved.targets.tolist() == [2] * 5
    assert moved.once("a", lambda: 2) == 2
    torch.testing.assert_close(moved.images, batch.images + 1)


def test_at_without_arguments_is_the_same_batch_anew():
    batch = new_batch()
    assert batch.at().images is batch.images
    assert batch.at().targets.tolist() == batch.targets.tolist()


def test_select_takes_ids_images_targets_and_inputs_together():
    inputs = {"age": torch.arange(5), "shared": torch.zeros(3), "word": "x"}
    selection = new_batch(inputs=inputs).select([3, 1])
    assert selection.ids == ("id-3", "id-1")
    assert selection.targets.tolist() == [0, 1]
    assert selection.inputs["age"].tolist() == [3, 1]
    assert selection.inputs["shared"] is inputs["shared"]
    assert selection.inputs["word"] == "x"
    torch.testing.assert_close(selection.images, new_batch().images[[3, 1]])


def test_singles_are_the_samples_one_by_one():
    assert [single.ids for single in new_batch().singles()] == [(f"id-{index}",) for index in range(5)]


@pytest.mark.parametrize(("rows", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (None, [5]), (9, [5])])
def test_pieces_hold_at_most_so_many_rows(rows, sizes):
    pieces = new_batch(rows=rows).pieced(lambda piece: piece)
    assert [len(piece) for piece in pieces] == sizes
    assert sum((piece.ids for piece in pieces), ()) == new_batch().ids


class Cramped:
    """A function with memory for ``room`` images at once; ``tried`` are the sizes of its batches."""

    def __init__(self, room: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.room = room
        self.error = error
        self.tried = []

    def __call__(self, piece: Batch) -> Batch:
        self.tried.append(len(piece))
        if len(piece) > self.room:
            raise self.error("no room")
        return piece


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_a_piece_that_does_not_fit_is_halved_and_the_rest_goes_on(error):
    batch = new_batch(rows=5)
    cramped = Cramped(2, error)
    pieces = batch.pieced(cramped)
    assert cramped.tried == [5, 2, 2, 1]
    assert sum((piece.ids for piece in pieces), ()) == batch.ids


def test_what_did_not_fit_once_is_not_tried_again():
    batch = new_batch(rows=5)
    cramped = Cramped(1)
    batch.pieced(cramped)
    assert batch.budget.halved
    assert batch.rows == 1
    assert [len(piece) for piece in batch.at(batch.images).pieced(cramped)] == [1] * 5
    assert cramped.tried == [5, 2] + [1] * 10


def test_one_image_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        new_batch(rows=2).pieced(Cramped(0))


def test_another_error_is_not_met_by_smaller_pieces():
    cramped = Cramped(2, ValueError)
    with pytest.raises(ValueError, match="no room"):
        new_batch(rows=5).pieced(cramped)
    assert cramped.tried == [5]


def test_passes_go_on_in_smaller_pieces_with_the_same_values(monkeypatch):
    expected = gradients(new_batch()).images
    batch = new_batch(rows=5)
    forward = View.__call__

    def cramped(view, images, *arguments, **settings):
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return forward(view, images, *arguments, **settings)

    monkeypatch.setattr(View, "__call__", cramped)
    torch.testing.assert_close(gradients(batch).images, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(batch.score(batch.images), batch.pick(logits(new_batch(rows=1))), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 20])
def test_scores_of_variants_are_the_targets_logits(rows):
    batch = new_batch(rows=rows)
    indices = [4, 0, 0, 2, 1, 3, 3]
    images = torch.randn(7, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(batch.score(images, indices), expected(images, batch.targets[indices]))
    torch.testing.assert_close(batch.score(batch.images), expected(batch.images, batch.targets))


def test_scoring_runs_at_most_rows_images_at_once():
    sizes = []
    batch = new_batch(rows=3)
    next(batch.view.module.children()).register_forward_pre_hook(lambda m, arguments: sizes.append(len(arguments[0])))
    batch.score(torch.zeros(8, 3, 2, 2, dtype=torch.float64), [0] * 8)
    assert sizes == [3, 3, 2]


def test_variants_without_owners_are_refused():
    with pytest.raises(ModelError, match="there are 6 variants and 5 indices"):
        new_batch().score(torch.zeros(6, 3, 2, 2, dtype=torch.float64))


@pytest.mark.parametrize("targets", [[0], [0] * 6])
def test_every_image_has_a_target(targets):
    with pytest.raises(ModelError, match=r"5 ids, 5 images and \d targets"):
        new_batch(targets=targets)


@pytest.mark.parametrize("target", [-1, 3])
def test_a_target_outside_the_classes_is_refused(target):
    batch = new_batch(targets=[0, 0, target, 0, 0])
    with pytest.raises(ModelError, match=f"target {target} is outside the 3 classes of Sums"):
        batch.score(batch.images)


def test_with_one_logit_of_grades_every_target_is_that_logit():
    images = torch.rand(3, 3, 2, 2)
    batch = Batch(Single(), ["a", "b", "c"], images, [0, 2, 1])
    torch.testing.assert_close(batch.score(images), batch.forward()[0][:, 0].detach())


def test_one_sigmoid_unit_of_two_classes_is_the_score_of_the_second():
    model = Model.of(Single().network, ("healthy", "ill"), head="sigmoid")
    images = torch.rand(3, 3, 2, 2)
    batch = Batch(model, ["a", "b", "c"], images, [0, 1, 0])
    unit = batch.forward()[0][:, 0].detach()
    assert batch.score(images).tolist() == (unit * torch.tensor([-1.0, 1.0, -1.0])).tolist()
    with pytest.raises(ModelError, match="target 2 is outside the 2 classes"):
        batch.at(targets=[0, 1, 2]).score(images)


@pytest.mark.parametrize(("classes", "head"), [("ab", "softmax"), ("abc", "sigmoid"), ("abc", "softmax")])
def test_one_logit_of_more_classes_than_its_head_can_tell_apart_is_refused(classes, head):
    model = Model.of(Single().network, classes, head=head)
    sentence = f"one logit for {len(classes)} classes and has a {head} head; allowed: one logit per class"
    with pytest.raises(ModelError, match=sentence):
        Batch(model, ["a"], torch.rand(1, 3, 2, 2), [0]).score(torch.rand(1, 3, 2, 2))
    with pytest.raises(ModelError, match=sentence):
        model.read(np.zeros(1))


def test_an_unknown_output_is_named():
    with pytest.raises(ModelError, match="Two has no output 'mask'; it has logits"):
        Batch(Two(), ["a"], torch.rand(1, 3, 2, 2, dtype=torch.float64), [0], output="mask").forward()


@pytest.mark.parametrize("kind", ["noise", "uniform"])
def test_noise_depends_on_seed_id_and_draw_only(kind):
    batch = new_batch()
    whole = getattr(batch, kind)(3)
    apart = torch.cat([getattr(batch.select([index]).at(targets=[2]), kind)(3) for index in (4, 2)])
    assert torch.equal(whole[[4, 2]], apart)
    assert torch.equal(whole, getattr(new_batch(rows=1), kind)(3))
    for other in (
        getattr(batch, kind)(4),
        getattr(new_batch(seed=8), kind)(3),
        getattr(new_batch(seed=7 + 2**32), kind)(3),
    ):
        assert not (whole == other).flatten(1).all(1).any()
    assert not torch.equal(whole[0], whole[1])


def test_noise_and_uniform_noise_are_distributed_as_they_say():
    batch = Batch(Sums(), ["a", "b"], torch.zeros(2, 3, 200, 200, dtype=torch.float64), [0, 0])
    noise = batch.noise(0)
    uniform = batch.uniform(0)
    assert noise.shape == batch.images.shape
    assert uniform.shape == (2, 200, 200)
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1) < 0.01
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.005
    assert abs(float(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1])) < 0.01


def test_noise_has_the_images_dtype_and_the_same_values_in_both():
    images = torch.zeros(1, 3, 4, 4)
    single, double = (Batch(Sums(), ["a"], images.to(dtype), [0]).noise(0) for dtype in (torch.float32, torch.float64))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert torch.equal(single, double.float())


def test_noise_is_pinned():
    """The values are those of numpy's Philox, so they cannot change unnoticed."""
    import hashlib

    key = int.from_bytes(hashlib.blake2b(b"7\x1fid-1\x1fnoise\x1f0", digest_size=16).digest(), "little")
    values = np.random.Generator(np.random.Philox(key=key)).standard_normal((3, 2, 2))
    np.testing.assert_array_equal(new_batch().noise(0)[1].numpy(), values)
