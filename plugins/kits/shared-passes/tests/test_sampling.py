"""Gradients at many variants fill passes across samples; errors are relative, and notes say why sampling stopped."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from heatproof.batch import Batch
from heatproof.passes import gradients
from heatproof.testing.bench import in_float64
from heatproof.testing.toys import Residual
from heatproof_shared_passes.sampling import Tolerance, joined, norms, relative, sampling_notes, variant_gradients


@dataclass(frozen=True)
class Measured:
    """The result of sampling for each sample."""

    passes: Tensor
    relative_error: Tensor


def measured(*errors: float) -> Measured:
    return Measured(torch.arange(1, len(errors) + 1), torch.tensor(errors))


def batch(rows: int) -> Batch:
    model = in_float64(Residual())
    images = torch.stack([torch.from_numpy(sample.image) for sample in model.samples(3)]).double()
    return Batch(model, list("abc"), images, [0, 1, 2], rows=rows)


@pytest.mark.parametrize("rows", [1, 2, 4, 9])
def test_each_variant_has_the_gradient_it_has_alone(rows):
    many = batch(rows)
    variants = [many.images * factor for factor in (1.0, 0.5, 2.0)]
    maps = list(variant_gradients(many, iter(variants)))
    assert len(maps) == 3
    for values, images in zip(maps, variants):
        torch.testing.assert_close(values, gradients(many.at(images)).images, rtol=1e-10, atol=1e-13)


def test_no_variant_gives_no_gradient():
    assert list(variant_gradients(batch(2), ())) == []


def test_an_error_is_relative_to_its_map_and_zero_where_there_is_none():
    maps = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
    assert norms(maps).tolist() == [5.0, 0.0, 0.0]
    assert relative(torch.tensor([1.0, 0.0, 1.0]), maps).tolist() == pytest.approx([0.2, 0.0, float("inf")])


def test_records_are_joined_sample_by_sample():
    record = joined([measured(0.1), measured(0.2, 0.3)])
    assert record.passes.tolist() == [1, 1, 2]
    assert record.relative_error.tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_notes_name_the_error_where_it_is_known_and_why_sampling_stopped():
    assert sampling_notes(measured(float("nan"), float("nan")), 7) == {"passes": [1, 2]}
    assert sampling_notes(measured(0.5, 0.25), 7) == {"passes": [1, 2], "relative_error": [0.5, 0.25]}
    assert sampling_notes(measured(0.5, 0.25), Tolerance(0.25, 9))["stopped_by"] == ["limit", "tolerance"]
