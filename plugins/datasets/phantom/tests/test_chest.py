"""Tests of the synthetic chest radiographs: classes that follow from the plan, exact masks, and plausible gaze."""

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof.testing import check_dataset
from heatproof_eyetracking.gaze import fixations_of
from heatproof_phantom.chest import CLASSES, ENLARGED, READERS, STUDIES, draw, masks, planned, radiograph
from heatproof_phantom.phantom import Phantom

HEIGHT = 192
PLANS = [planned(patient, study, 3) for patient in range(300) for study in STUDIES]


def axes(height, width):
    """Rows (height, 1) and columns (1, width) of the centres of the pixels, in heights of the image."""
    rows = (np.arange(height) + 0.5)[:, None] / height
    columns = (np.arange(width) + 0.5 - width / 2)[None] / height
    return rows, columns


def test_the_class_follows_from_the_plan():
    """An enlarged heart is CHF, else opacities are pneumonia; all classes are about equally frequent."""
    classes = {(True, False): 1, (False, True): 2, (False, False): 0}
    for plan in PLANS:
        assert plan.label == classes[plan.ratio > ENLARGED, bool(plan.opacities)]
    assert (np.bincount([plan.label for plan in PLANS]) > 0.25 * len(PLANS)).all()
    assert {len(plan.opacities) for plan in PLANS} == {0, 1, 2, 3, 4}


def test_the_cardiothoracic_ratio_can_be_measured_in_the_masks():
    """The widths of heart and lungs in the masks have the ratio of the plan."""
    for plan in PLANS[:20]:
        drawn_masks = masks(plan, *axes(400, 340))
        heart = np.flatnonzero(drawn_masks["cardiac_silhouette"].any(axis=0))
        chest = np.flatnonzero((drawn_masks["right_lung"] | drawn_masks["left_lung"]).any(axis=0))
        assert np.ptp(heart) / np.ptp(chest) == pytest.approx(plan.ratio, abs=0.01)


def test_opacities_change_the_image_exactly_in_their_mask():
    """Outside of the mask no grey level depends on the opacities; inside nearly every grey level does."""
    plan = next(plan for plan in PLANS if len(plan.opacities) >= 3)
    sample = draw(plan.patient, plan.study, 3, HEIGHT)
    changed = (sample.image != radiograph(plan, HEIGHT, suppressed=True))[0]
    opacity = sample.mask("consolidation")
    assert not (changed & ~opacity).any()
    assert changed[opacity].mean() > 0.95
    np.testing.assert_array_equal(sample.image, radiograph(plan, HEIGHT))


def test_opacities_of_an_image_do_not_touch():
    """The mask has as many connected parts as the plan has opacities."""
    from scipy.ndimage import label

    for plan in PLANS:
        if plan.opacities:
            assert label(masks(plan, *axes(256, 213))["consolidation"])[1] == len(plan.opacities)


def test_readers_look_at_opacities():
    """Gaze is denser on opacities than elsewhere, readers differ, and no fixation lies outside the image."""
    plan = next(plan for plan in PLANS if len(plan.opacities) == 2)
    sample = draw(plan.patient, plan.study, 3, HEIGHT)
    annotations = [annotation for annotation in sample.annotations if annotation.finding == "gaze"]
    gaze = {annotation.reader: annotation.values for annotation in annotations}
    opacity = sample.mask("consolidation")
    assert set(gaze) == set(READERS) == set(fixations_of(sample))
    for values in gaze.values():
        assert values[opacity].mean() > 3 * values.mean()
    points = sample.extras["fixations"]
    assert ((points[:, :2] > 1) & (points[:, :2] < np.array(sample.space) - 1)).all()
    assert (points[:, 2] > 0).all()
    correlations = np.corrcoef([values.ravel() for values in gaze.values()])
    assert 0.3 < correlations.min() < 0.999
    total = sample.extras["gaze_frames"].total()
    np.testing.assert_allclose(total, np.sum(list(gaze.values()), axis=0), rtol=1e-5, atol=1e-9)


def test_two_heights_show_the_same_scene():
    """Gaze and grey levels of an image twice as high agree with the lower one."""
    low, high = (draw(5, "first", 3, height) for height in (96, 192))
    halved = high.image[0].reshape(96, 2, 80, 2).mean(axis=(1, 3))
    assert np.abs(halved - low.image[0]).mean() < 0.02 * 65535
    np.testing.assert_allclose(high.extras["fixations"], low.extras["fixations"] * (2, 2, 1))


def test_conformance():
    """The dataset obeys the laws of datasets, and its grades are the labels of its samples."""
    dataset = Phantom(patients=12, subject="chest", height=96)
    check_dataset(dataset)
    assert (dataset.classes, dataset.ids()[:2]) == (CLASSES, ["synthetic_00000_first", "synthetic_00000_second"])
    assert [dataset.grade(id) for id in dataset.ids()] == [dataset.load(id).label for id in dataset.ids()]
    with pytest.raises(DataError, match="synthetic_00000_first to synthetic_00011_second"):
        dataset.load("synthetic_00000_left")


def test_the_identity_of_eyes_is_that_of_earlier_versions(monkeypatch):
    """Earlier results of eyes stay valid, and chests have another identity; of an installed distribution."""
    monkeypatch.setattr("heatproof.component.source", lambda kind: "")
    eye = Phantom()
    eye.registered = "heatproof-phantom/phantom"
    assert eye.identity == "cb6cee0b3dd6113f344e19a27713d675"
    assert len({eye.identity, Phantom(subject="chest").identity, Phantom().identity}) == 3
    assert Phantom(optic_disc=True, height=64).load("synthetic_00000_left").findings()[-1] == "optic_disc"
