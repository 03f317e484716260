"""Iterative refinement against an example by hand, a plain loop over captum and OpenCV, and its error messages."""

import math

import cv2
import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop
from torch import Tensor, nn
from torch.nn import functional

from heatproof.batch import Batch
from heatproof.component import Params
from heatproof.errors import HeatproofError, ModelError, Undefined
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.passes import gradients
from heatproof.records import Explanation
from heatproof.testing import conforms, toys
from heatproof_iterative.iterative import Iterative

GRADES = ("none", "mild", "moderate", "severe", "worst")
V = (4.0, 2.4, 1.2, 0.6)


class Example(Model):
    """The score sum v relu(0.5 - x) on an image of 1 × 4 pixels."""

    classes = GRADES
    head = "regression"

    def build(self) -> nn.Module:
        dark = nn.Conv2d(1, 1, 1).double()
        reader = nn.Linear(4, 1, bias=False).double()
        dark.weight.data.fill_(-1.0)
        dark.bias.data.fill_(0.5)
        reader.weight.data = torch.tensor([V], dtype=torch.float64)
        return nn.Sequential(dark, nn.ReLU(), nn.Flatten(), reader)


class Odds(Example):
    """The same score as the logit of an ordinal head, whose sigmoid is multiplied by 4."""

    head = "ordinal"


class Filled(Iterative):
    """Fills in with the background, 1."""

    def inpaint(self, image: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, 1.0, image)


class Uniform(Explainer):
    """A base whose map is the same everywhere."""

    def explain(self, batch: Batch) -> Tensor:
        return torch.ones_like(batch.images)


class SlopeParams(Params):
    noise: float = 0.0


class Slope(Explainer[SlopeParams]):
    """A base that is the gradient of a layer summed over channels, with noise if the settings say so."""

    @property
    def traits(self):
        if self.params.noise:
            return frozenset({"seeded"})
        return frozenset()

    def layers(self, model):
        return model.layers()[:1]

    def explain(self, batch):
        values = gradients(batch).layers[batch.model.layers()[0]].gradient.sum(1, keepdim=True)
        return values + self.params.noise * batch.noise(0).sum(1, keepdim=True)


class Twice(Slope):
    """A base of several passes."""

    passes = (3, 2)


IMAGE = torch.tensor([[[[0.0, 0.0, 0.0, 1.0]]]], dtype=torch.float64)


def example(images: Tensor = IMAGE, model: Model | None = None, field: Tensor | None = None) -> Batch:
    ids = [str(row) for row in range(len(images))]
    return Batch(model or Example(), ids, images, [0] * len(images), field=field)


def filled(**params) -> Filled:
    return Filled(**{"tau": 0.7, "dilation": 0} | params)


def graded(count: int = 3) -> Batch:
    model = toys.Graded()
    images = torch.from_numpy(np.stack([sample.image for sample in model.samples(4)])).double()[:count]
    model.network.double()
    return Batch(model, [str(row) for row in range(count)], images, [0] * count)


@conforms(
    Iterative(max_iter=4),
    Iterative(max_iter=3, sign="positive", share=0.05, dilation=0),
    Iterative(base=Slope(noise=0.1), max_iter=2, tau=0.6),
)
def test_conformance(check):
    check()


def test_the_example_by_hand():
    explanation = filled()(example())
    assert explanation.values[0, 0, 0].tolist() == pytest.approx([4, 3.28291066, 1.64145533, 0], abs=1e-8)
    assert explanation.kept["scores"][0].tolist() == pytest.approx([3.8, 1.8, 0.6])
    assert explanation.kept["masks"][0][:, 0].tolist() == [[True, False, False, False], [False, True, False, False]]
    assert explanation.kept["maps"][0][:, 0].tolist() == [[4, 2.4, 1.2, 0], [0, 2.4, 1.2, 0]]
    assert explanation.kept["images"][0][:, 0, 0].tolist() == [[0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]]
    notes = {name: entries[0] for name, entries in explanation.notes.items()}
    assert notes == {
        "iterations": 2, "stopped": "category", "score_before": pytest.approx(3.8), "score_after": pytest.approx(0.6),
        "category_before": 4, "category_after": 1, "degenerate": 0.0,
    }  # fmt: skip


def test_one_iteration_is_the_map_itself():
    explanation = filled(max_iter=1)(example())
    assert explanation.values[0, 0, 0].tolist() == [4, 2.4, 1.2, 0]
    assert (explanation.notes["iterations"], explanation.notes["stopped"]) == ([1], ["max_iter"])
    assert explanation.notes["score_after"] == [pytest.approx(1.8)]


@pytest.mark.parametrize(("decay", "second"), [(0.0, 4.8), (math.log(2), 3.6), (1e4, 2.4)])
def test_later_maps_count_less(decay, second):
    assert filled(decay=decay)(example()).values[0, 0, 0, 1].item() == pytest.approx(second, rel=1e-12)


def test_an_ordinal_score_counts_the_grades_of_its_sigmoid():
    explanation = filled()(example(model=Odds()))
    logits = [3.8, 1.8, 0.6, 0.0]
    assert explanation.kept["scores"][0].tolist() == pytest.approx(
        [4 / (1 + math.exp(-logit)) for logit in logits], rel=1e-6
    )
    assert explanation.notes["category_before"] == [4]
    assert explanation.notes["category_after"] == [2]
    assert explanation.notes["stopped"] == ["empty mask"]
    assert explanation.notes["iterations"] == [4]


@pytest.mark.parametrize(("normal", "iterations"), [(0, 3), (1, 2), (2, 1)])
def test_refinement_ends_at_a_normal_grade(normal, iterations):
    assert filled(normal=normal)(example()).notes["iterations"] == [iterations]


def test_an_image_without_a_finding_is_excluded_with_a_reason():
    healthy = torch.tensor([[[[0.3, 0.5, 0.5, 1.0]]]], dtype=torch.float64)
    with pytest.raises(Undefined, match=r"graded mild \(score 0.8\): only grades above mild are refined"):
        filled()(example(healthy))
    with pytest.raises(Undefined, match="graded mild"):
        filled()(example(torch.cat([IMAGE, healthy])))


def test_half_a_grade_rounds_up_at_entry_and_at_the_end():
    entry = torch.tensor([[[[0.125, 0.5, 0.5, 1.0]]]], dtype=torch.float64)
    assert filled()(example(entry)).notes["score_before"] == [1.5]
    with pytest.raises(Undefined):
        filled()(example(entry + torch.tensor([1e-9, 0, 0, 0], dtype=torch.float64)))
    end = torch.tensor([[[[0.0, 0.5, -0.75, 1.0]]]], dtype=torch.float64)
    assert filled(tau=1.0, max_iter=1)(example(end)).notes["score_after"] == [1.5]
    assert filled(tau=1.0, max_iter=1)(example(end)).notes["stopped"] == ["max_iter"]


def test_masks_stay_inside_the_field():
    field = torch.tensor([[[False, True, True, True]]])
    explanation = filled()(example(field=field))
    assert explanation.kept["masks"][0][:, 0].tolist() == [
        [False, True, False, False], [False, False, True, False], [False] * 4
    ]  # fmt: skip
    assert explanation.notes["stopped"] == ["empty mask"]
    assert explanation.values[0, 0, 0].tolist() == pytest.approx([4 * (1 + math.exp(-1) + math.exp(-2)),
                                                           2.4, 1.2 * (1 + math.exp(-1)), 0])  # fmt: skip


def test_dilation_stays_inside_the_field_too():
    field = torch.tensor([[[True, False, True, True]]])
    assert filled(dilation=1, max_iter=1)(example(field=field)).kept["masks"][0][0, 0].tolist() == [
        True, False, False, False
    ]  # fmt: skip


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 3)])
def test_the_share_counts_pixels_of_the_field(share, count):
    explanation = filled(tau=None, share=share, max_iter=1)(example())
    assert int(explanation.kept["masks"][0].sum()) == count


def test_a_share_of_the_pixels():
    """The product of floats for 0.575 of 100 is below 57.5."""
    heat = torch.arange(1.0, 101).reshape(10, 10)
    mask = Iterative(share=0.575, dilation=0)._mask(heat, torch.ones(10, 10, dtype=torch.bool))
    assert int(mask.sum()) == 58


def test_ties_are_filled_in_together():
    heat = torch.zeros(20, 20)
    heat[3, 3] = heat[7, 8] = heat[15, 2] = 1.0
    heat[9, 9] = 0.5
    mask = Iterative(share=1 / 400, dilation=0)._mask(heat, torch.ones(20, 20, dtype=torch.bool))
    assert torch.equal(mask, heat == 1)
    wide = Iterative(share=1 / 400, dilation=2)._mask(heat, torch.ones(20, 20, dtype=torch.bool))
    expected = cv2.dilate((heat == 1).numpy().astype(np.uint8), np.ones((5, 5), np.uint8))
    assert np.array_equal(wide.numpy(), expected > 0)


def test_a_mask_over_the_whole_field_is_excluded_with_advice():
    with pytest.raises(Undefined, match=r"covers the whole field.*lower share or dilation"):
        Iterative(base=Uniform(), sign="positive")(graded())
    with pytest.raises(Undefined, match="covers the whole field"):
        filled(dilation=4)(example())


def test_a_map_without_the_sign_that_counts_is_degenerate():
    explanation = Iterative(base=Uniform())(graded())
    assert explanation.notes["degenerate"] == [1.0] * 3
    assert explanation.notes["stopped"] == ["empty mask"] * 3
    assert explanation.notes["iterations"] == [1] * 3
    assert torch.equal(explanation.values, torch.zeros_like(explanation.values))


def test_scores_that_are_not_finite_are_an_error():
    with pytest.raises(ModelError, match="the score of Example is not finite"):
        filled()(example(torch.full((1, 1, 1, 4), -1e308, dtype=torch.float64)))


def by_opencv(image: Tensor, mask: np.ndarray) -> Tensor:
    """The image (1, c, h, w) with the pixels in the mask (h, w) uint8 filled in."""
    low = float(image.min())
    span = float(image.max()) - low
    grey = ((image[0].numpy() - low) / span * 255).astype(np.float32)
    filled = np.stack([cv2.inpaint(channel, mask, 3, cv2.INPAINT_NS) for channel in grey]).astype(np.float64)
    return torch.where(torch.from_numpy(mask > 0), torch.from_numpy(filled / 255 * span + low), image)


def test_a_plain_loop_over_captum_and_opencv_agrees():
    batch = graded(3)
    explanation = Iterative(max_iter=5, share=0.02, decay=0.7, normal=1)(batch)
    network = batch.model.network
    guided = GuidedBackprop(network)
    for row in range(3):
        image = batch.images[[row]]
        total = 0.0
        scores = []
        for step in range(5):
            scores.append(network(image).item())
            gradient = guided.attribute(image.clone().requires_grad_()).detach().numpy()[0]
            heatmap = np.maximum(0, -gradient).max(0)
            total = total + math.exp(-0.7 * step) * heatmap
            threshold = np.sort(heatmap.ravel())[::-1][round(0.02 * heatmap.size) - 1]
            mask = cv2.dilate((heatmap >= threshold).astype(np.uint8), np.ones((3, 3), np.uint8))
            image = by_opencv(image, mask)
        scores.append(network(image).item())
        assert float(np.abs(explanation.values[row, 0].numpy() - total).max() / total.max()) <= 1e-8
        assert explanation.kept["scores"][row].tolist() == pytest.approx(scores, rel=1e-8)
        assert float((explanation.kept["images"][row][-1] - image[0]).abs().max()) <= 1e-8
        assert scores[0] != pytest.approx(scores[-1], rel=1e-4)


def test_against_is_guided_backpropagation_of_minus_the_score():
    batch = graded(2)
    actual = Iterative(sign="against", max_iter=1)(batch).values

    class Minus(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, images):
            return -self.network(images)

    expected = GuidedBackprop(Minus(batch.model.network)).attribute(batch.images.clone().requires_grad_())
    expected = expected.detach().clamp_min(0).amax(1, keepdim=True)
    assert float(expected.max()) > 0
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-14)
    other = Iterative(max_iter=1)(batch).values
    assert float((actual - other).abs().max()) > 0.1 * float(other.max())


def test_a_base_reads_only_its_own_layers():
    model = toys.Graded()
    explainer = Iterative(base=Slope(), sign="positive", max_iter=1)
    batch = graded(2)
    assert explainer.layers(model) == ("0",)
    wide = Batch(batch.model, batch.ids, batch.images, [0, 0], layers=("0", "2"))
    expected = Slope()(Batch(batch.model, batch.ids, batch.images, [0, 0], layers=("0",))).values.clamp_min(0)
    torch.testing.assert_close(explainer(wide).values, expected, rtol=1e-12, atol=1e-15)


def test_traits_and_passes_follow_the_base():
    assert Iterative().traits == frozenset()
    assert Iterative(base=Slope(noise=1.0)).traits == {"seeded"}
    assert Iterative(max_iter=7).passes == (15, 7)
    assert Iterative(base=Twice(), max_iter=5).passes == (21, 10)


def test_passes_are_an_upper_bound_that_is_reached(passed):
    batch = graded(1)
    explainer = Iterative(max_iter=3)
    counts = passed(batch)
    assert explainer(batch).notes["iterations"] == [3]
    assert (counts["forward"], counts["backward"]) == explainer.passes


@pytest.mark.parametrize("model", [toys.Residual(), toys.Regions()])
def test_a_head_without_grades_is_undefined(model):
    verdict = Iterative().verdict(model)
    assert verdict.level == "undefined"
    assert verdict.reason.endswith(f"needs an ordinal or regression head; {model.short} has a softmax head")


def test_other_verdicts():
    assert Iterative().verdict(Example()).level == "exact"
    highest = Iterative(normal=4).verdict(Example())
    assert (highest.level, highest.reason) == ("undefined", "no grade of Example is above normal: 4; its highest is 4")

    class Flat(Example):
        def build(self):
            return nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)).double()

    assert "no activation lies between the image and the output" in Iterative().verdict(Flat()).reason
    assert Iterative(base=Slope()).verdict(Flat()) == Slope().verdict(Flat())


def test_a_volume_is_refused():
    model = toys.Graded()
    volume = Batch(model, ["a"], torch.zeros(1, 3, 4, 4, 4), [0])
    with pytest.raises(ModelError, match="explains 2-D images; these have 3 dimensions"):
        Iterative()(volume)


@pytest.mark.parametrize(
    "params",
    [{"share": 0}, {"share": 1.5}, {"tau": 0}, {"dilation": -1}, {"radius": 0}, {"max_iter": 0}, {"decay": -1},
     {"decay": float("inf")}, {"normal": -1}, {"sign": "both"}, {"sign": "against", "base": Slope()}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(params):
    with pytest.raises(HeatproofError, match=next(iter(params))):
        Iterative(**params)


def test_the_explanation_is_what_the_core_stores():
    explanation = Iterative(max_iter=2)(graded(2))
    assert isinstance(explanation, Explanation)
    assert [tuple(images.shape) for images in explanation.kept["images"]] == [(3, 3, 16, 16)] * 2
    assert [tuple(masks.shape) for masks in explanation.kept["masks"]] == [(2, 16, 16)] * 2
    assert functional.relu(explanation.values).equal(explanation.values)
