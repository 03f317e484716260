import numpy as np
import pytest
import torch

from heatproof.errors import DataError
from heatproof_heatmap_objectives.agreement import Agreement
from heatproof_heatmap_objectives.annotated import AnnotatedParams, target, targets
from heatproof_heatmap_objectives.heatmap_segmentation import HeatmapSegmentation
from heatproof_heatmap_objectives.segmentation import Segmentation

ZEROS = np.zeros((6, 6), np.float32)


def spot(row: int, value: float = 1.0) -> np.ndarray:
    mask = ZEROS.copy()
    mask[row, row] = value
    return mask


def test_masks_and_boxes_of_readers_are_united_and_keep_their_shares(samples, marked):
    sample = marked(
        samples[0], ("nodule", spot(0, 0.25), "mask", "a"), ("nodule", spot(1), "box", "b"), ("heart", spot(2))
    )
    assert target(sample, "nodule") == pytest.approx(spot(0, 0.25) + spot(1))
    assert target(sample, "heart") == pytest.approx(spot(2))
    assert target(sample, "gaze") is None


def test_densities_are_averaged_over_readers_and_scaled(samples, marked):
    """Reader b looked three times as long as reader a, and counts as much; several maps of one reader are added."""
    parts = [("gaze", 8 * spot(0), "density", "a"), ("gaze", 12 * spot(1) + 6 * spot(2), "density", "b")]
    sample = marked(samples[0], *parts, ("gaze", 6 * spot(2), "density", "b"))
    assert target(sample, "gaze") == pytest.approx(spot(0) + 0.5 * spot(1) + 0.5 * spot(2))
    assert target(marked(samples[0], ("gaze", ZEROS, "density")), "gaze") == pytest.approx(ZEROS)
    assert target(marked(samples[0], ("gaze", ZEROS + 3, "density")), "gaze") == pytest.approx(ZEROS)


def test_unchanged_densities_must_lie_in_the_unit_range(samples, marked):
    sample = marked(samples[0], ("gaze", ZEROS + 0.25, "density", "a"), ("gaze", ZEROS + 0.75, "density", "b"))
    assert target(sample, "gaze", "unchanged") == pytest.approx(ZEROS + 0.5)
    with pytest.raises(DataError, match=r"density of 'gaze' on s0 reaches from 0 to 1\.5; .* set densities: linear"):
        target(marked(samples[0], ("gaze", spot(0, 1.5), "density")), "gaze", "unchanged")


def test_unexamined_samples_are_refused_or_skipped(unet, samples, marked, step):
    samples[1] = marked(samples[1], ("heart", spot(0)))
    samples[2] = marked(samples[2], ("gaze", ZEROS, "density"))
    record = step(unet(), samples)
    with pytest.raises(DataError, match=r"s1 has no annotation of 'gaze' \(it was examined for heart\)"):
        targets(record, AnnotatedParams())
    annotated = targets(record, AnnotatedParams(unannotated="skip"))
    assert annotated.present.tolist() == [True, False, True]
    assert annotated.marked().present.tolist() == [True, False, False]
    assert annotated.maps.shape == (3, 1, 6, 6)
    losses = torch.tensor([1.0, float("nan"), 4.0])
    assert annotated.mean(losses).item() == 2.5
    assert targets(record, AnnotatedParams(finding="lung", unannotated="skip")).mean(losses).item() == 0


def test_a_finding_that_nobody_annotated_is_refused_before_it_is_skipped(samples, explainer, base):
    skipping = {"unannotated": "skip", "finding": "gazes"}
    objectives = [
        Segmentation(**skipping),
        HeatmapSegmentation(**skipping, generator=explainer("plain")),
        Agreement(**skipping, base=base, explainer=explainer("plain")),
    ]
    for objective in objectives:
        assert objective.open == ("finding",)
        with pytest.raises(DataError, match=r"no sample to train on has an annotation of 'gazes', .* mean 'gaze'\?"):
            objective.fit(iter(samples))
        known = objective.with_(finding="gaze")
        assert known.fit(iter(samples)) is known
        assert objective.with_(unannotated="refuse").open == ()
    assert HeatmapSegmentation(**skipping, generator=explainer("plain"), set=2).open == ()
