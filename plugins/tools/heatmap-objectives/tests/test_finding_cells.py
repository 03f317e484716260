from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from heatproof.errors import DataError, HeatproofError, ModelError
from heatproof.imaging.transforms import Resize
from heatproof.model import Model
from heatproof_heatmap_objectives.finding_cells import FindingCells, cells
from heatproof_objectives.activations import Activations, calls_of

FINDINGS = ("spot", "stain")


@pytest.fixture
def examined(samples, marked):
    """Three samples: spots of several sizes and readers, an empty stain, and one that nobody examined for stains."""
    rng = np.random.default_rng(1)
    spots = (rng.uniform(size=(3, 6, 6)) * (rng.uniform(size=(3, 6, 6)) < 0.2)).astype(np.float32)
    box = np.zeros((6, 6), np.float32)
    box[1:4, 3:5] = 1
    field = np.ones((6, 6), bool)
    field[:, 0] = False
    first = marked(samples[0], ("spot", spots[0]), ("spot", spots[1], "mask", "second"), ("stain", box, "box"))
    second = marked(samples[1], ("spot", spots[1]), ("stain", 0 * box))
    return [replace(first, field=field), second, marked(samples[2], ("spot", spots[2]))]


def by_hand(logits: np.ndarray, samples, smallest: float, weight: float) -> float:
    """The mean of w y log(1 + e^-z) + (1 - y) log(1 + e^z), cell by cell; the image has 2 × 2 pixels per cell."""
    losses = []
    for row, sample in enumerate(samples):
        for column, finding in enumerate(FINDINGS):
            masks = [entry.values for entry in sample.annotations if entry.finding == finding]
            for cell in np.ndindex(3, 3) if masks else ():
                area = 0.0
                for i, j in np.ndindex(2, 2):
                    pixel = (2 * cell[0] + i, 2 * cell[1] + j)
                    if sample.field is None or sample.field[pixel]:
                        area += max(float(mask[pixel]) for mask in masks)
                logit = logits[row, column][cell]
                losses.append(weight * np.log1p(np.exp(-logit)) if area >= smallest else np.log1p(np.exp(logit)))
    return float(np.mean(losses))


def observed(step, model, samples, objective):
    """A step with the activation of the objective's layer."""
    calls = calls_of(model, objective.layers(model))
    with Activations(model.network, [path for path, _ in calls.values()]) as activations:
        record = step(model, samples)
    return replace(record, activations={layer: activations.values[call] for layer, call in calls.items()})


def test_the_loss_is_that_of_a_second_implementation_and_has_the_gradient_of_finite_differences(
    unet, examined, step, slopes, base
):
    """In float64, with samples that nobody examined for a finding, readers that disagree, and a field of view."""
    model = unet()
    settings = {"weight": 10, "positive_weight": 3, "smallest": 0.4, "unannotated": "skip", "layer": "deep.1"}
    objective = FindingCells(base=base, findings=FINDINGS, **settings)
    objective.require(model)
    convolution = objective.modules(model)[0]
    assert convolution.weight.dtype == torch.float64
    losses = objective.losses(observed(step, model, examined, objective))
    record = observed(step, model, examined, objective)
    weight = convolution.weight.detach()[:, :, 0, 0].numpy()
    bias = convolution.bias.detach().numpy()
    features = record.activations["deep.1"].detach().numpy()
    logits = np.einsum("fc,ncij->nfij", weight, features) + bias[:, None, None]
    expected = by_hand(logits, examined, 0.4, 3)
    assert losses["cells"].item() == pytest.approx(expected, rel=1e-10)
    assert losses["loss"].item() == pytest.approx(losses["base"].item() + 10 * expected, rel=1e-10)
    trained = nn.ModuleList([model.network, convolution])
    length, gap = slopes(trained, lambda: objective.losses(observed(step, model, examined, objective))["cells"])
    assert length > 0.01
    assert gap <= 1e-6


def test_cells_that_do_not_divide_the_image_get_their_share_of_each_pixel(samples, marked, base):
    """Of 6 pixels to 4 cells, the second cell has half of the second pixel and the third."""
    mask = np.zeros((6, 6), np.float32)
    mask[1, 1] = 1
    sample = marked(samples[0], ("spot", mask))
    for smallest, count in ((0.25, 4), (0.26, 0)):
        objective = FindingCells(base=base, findings=("spot",), smallest=smallest)
        assert cells(sample, objective.params, (4, 4)).sum() == count


def test_samples_without_examination_and_densities_are_refused(unet, examined, samples, base):
    params = FindingCells(base=base, findings=FINDINGS).params
    with pytest.raises(DataError, match=r"s2 has no annotation of 'stain' .it was examined for spot"):
        cells(examined[2], params, (3, 3))
    with pytest.raises(DataError, match=r"'gaze' on s0 is a density, which no cell contains"):
        cells(samples[0], FindingCells(base=base, findings=("gaze",)).params, (3, 3))
    skipping = FindingCells(base=base, findings=("spot", "stian"), unannotated="skip")
    assert skipping.open == ("findings",)
    with pytest.raises(DataError, match=r"no sample to train on has an annotation of 'stian'.*did you mean 'stain'"):
        skipping.fit(examined)


def test_layers_without_cells_and_unknown_ones_are_refused(unet, base):
    with pytest.raises(ModelError, match=r"no layer 'deep.9'"):
        FindingCells(base=base, findings=FINDINGS, layer="deep.9").require(unet())
    with pytest.raises(ModelError, match=r"needs a layer with a grid of cells; 'classifier' .* has the shape \(1, 3\)"):
        FindingCells(base=base, findings=FINDINGS, layer="classifier").modules(unet())
    for findings in ((), ("spot", "spot")):
        with pytest.raises((HeatproofError, ValidationError), match="findings"):
            FindingCells(base=base, findings=findings)


def test_images_of_one_and_three_dimensions(base):
    for dimensions, convolution, pool in ((1, nn.Conv1d, nn.AdaptiveAvgPool1d), (3, nn.Conv3d, nn.AdaptiveAvgPool3d)):
        network = nn.Sequential(convolution(1, 2, 3, padding=1), pool(1), nn.Flatten(), nn.Linear(2, 2))
        model = Model.of(network, "ab", Resize(size=(4,) * dimensions))
        [layer] = FindingCells(base=base, findings=FINDINGS).modules(model)
        assert isinstance(layer, convolution)
        assert layer.weight.shape[:2] == (2, 2)
