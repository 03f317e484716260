from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heatproof.batch import Batch
from heatproof.errors import DataError, ModelError
from heatproof.passes import gradients
from heatproof.records import Annotation, Sample
from heatproof.testing.toys import Residual
from heatproof_objectives.objective import Objective
from heatproof_objectives.step import Step, evaluating


class Ridge(Objective):
    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"loss": (step.outputs["logits"][:, 0] - step.labels()).square().mean()}


@pytest.fixture
def samples() -> list[Sample]:
    return Residual().samples(3)


def step_of(samples: list[Sample]) -> Step:
    model = Residual()
    images = torch.stack([torch.from_numpy(sample.image) for sample in samples])
    batch = Batch(model, [sample.id for sample in samples], images, [0] * len(samples), differentiable=True)
    return Step(batch, model.forward(images), samples, True)


def test_labels_and_indicators(samples):
    labelled = [replace(sample, label=label) for sample, label in zip(samples, (1, 0, 1))]
    assert step_of(labelled).labels().tolist() == [1, 0, 1]
    several = [replace(sample, label=label) for sample, label in zip(samples, (1, (), (0, 1)))]
    assert step_of(several).indicators()[:, :2].tolist() == [[0, 1], [0, 0], [1, 1]]
    with pytest.raises(DataError, match="has 0 labels"):
        step_of(several).labels()
    for read in (Step.labels, Step.indicators):
        with pytest.raises(DataError, match=f"{samples[1].id} has no label"):
            read(step_of([labelled[0], replace(samples[1], label=None)]))


def test_masks_unite_readers_and_findings(samples):
    marks = [np.zeros(samples[0].space, np.float32) for _ in range(3)]
    for position, mark in enumerate(marks):
        mark[position, position] = 0.5
    findings = ("left", "left", "right")
    annotations = tuple(Annotation(finding, mark) for finding, mark in zip(findings, marks))
    step = step_of([replace(samples[0], annotations=annotations)])
    assert step.mask("left")[0, 0].numpy() == pytest.approx(marks[0] + marks[1])
    assert step.mask()[0, 0].numpy() == pytest.approx(sum(marks))
    with pytest.raises(DataError, match=r"for nodule \(examined: left, right\)"):
        step.mask("nodule")
    with pytest.raises(DataError, match=r"any finding \(examined: none\)"):
        step_of([replace(samples[0], annotations=())]).mask()


def test_extras_are_stacked_and_missing_ones_named(samples):
    marked = [replace(sample, extras={"gaze": np.full((2, 2), index)}) for index, sample in enumerate(samples)]
    assert step_of(marked).extra("gaze")[:, 0, 0].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=f"{samples[0].id} has no array or number 'age' among its extras .gaze"):
        step_of(marked).extra("age")


def test_a_heatmap_inside_evaluating_is_that_of_inference_and_reaches_the_weights(samples):
    step = step_of(samples)
    network = step.batch.model.network.train()
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms
    norms[0].eval()  # a frozen part stays frozen
    modes = [module.training for module in network.modules()]
    statistics = [norm.running_mean.clone() for norm in norms]
    with evaluating(network):
        heatmaps = gradients(step.batch).images
        alone = gradients(step.batch.select([0])).images
    assert torch.allclose(heatmaps[:1], alone, atol=1e-7)
    assert [module.training for module in network.modules()] == modes
    assert all(map(torch.equal, statistics, [norm.running_mean for norm in norms]))
    heatmaps.square().mean().backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_an_objective_refuses_outputs_and_heads():
    objective = Ridge()
    objective.require(Residual())
    with pytest.raises(ModelError, match="needs the output 'mask', which Residual does not have"):
        objective.require_output(Residual(), "mask")
    with pytest.raises(ModelError, match="head ordinal or regression"):
        objective.require_head(Residual(), "ordinal", "regression")
