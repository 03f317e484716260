"""Tests of the synthetic fundus photographs: exact masks, and no dependence on the order of calls."""

import numpy as np
import pytest

from heatproof_phantom.drawing import draw, draw_eye
from heatproof_phantom.lesions import FINDINGS
from heatproof_phantom.patients import SHARES, eyes

HEIGHT = 178
SEED = 7


@pytest.fixture(scope="module")
def graded_eyes():
    """One planned eye of every grade."""
    by_grade = {}
    for patient in range(200):
        for eye in eyes(patient, SEED).values():
            by_grade.setdefault(eye.grade, eye)
    return by_grade


@pytest.fixture(scope="module")
def population():
    """Planned eyes of many patients."""
    return [eyes(patient, SEED) for patient in range(500)]


def same(left, right):
    """Whether two drawings agree in every bit."""
    return (
        np.array_equal(left.image, right.image)
        and np.array_equal(left.field, right.field)
        and left.grade == right.grade
        and all(np.array_equal(left.masks[key], right.masks[key]) for key in left.masks)
    )


def test_shapes_and_types():
    """A drawing has the documented arrays."""
    drawing = draw(0, "left", SEED, HEIGHT)
    assert drawing.image.shape == (3, HEIGHT, round(HEIGHT * 4288 / 2848))
    assert drawing.image.dtype == np.uint8
    assert set(drawing.masks) == {*FINDINGS, "optic_disc"}
    assert all(mask.shape == drawing.field.shape and mask.dtype == bool for mask in drawing.masks.values())


def test_repeated_drawings_are_identical():
    """An eye is drawn alike again after other eyes were drawn and NumPy's global seed was set."""
    first = draw(3, "right", SEED, HEIGHT)
    np.random.seed(1)
    others = [draw(4, "left", SEED, HEIGHT), draw(3, "left", SEED, HEIGHT), draw(3, "right", SEED + 1, HEIGHT)]
    assert same(first, draw(3, "right", SEED, HEIGHT))
    assert not any(same(first, other) for other in others)


@pytest.mark.parametrize("grade", [0, 1, 2, 3, 4])
def test_masks_are_exactly_where_lesions_change_the_image(graded_eyes, grade):
    """Outside the masks no grey level depends on the lesions; inside, nearly every pixel does."""
    eye = graded_eyes[grade]
    ill = draw_eye(eye, HEIGHT)
    well = draw_eye(eye, HEIGHT, suppressed=True)
    changed = (ill.image != well.image).any(axis=0)
    lesions = np.any([ill.masks[finding] for finding in FINDINGS], axis=0)
    assert not (changed & ~lesions).any()
    assert lesions.any() == (grade > 0)
    assert changed[lesions].sum() >= 0.99 * lesions.sum()


def test_lesions_stand_out_from_the_noise(graded_eyes):
    """In green, blood darkens and exudate brightens the pixels by far more than the noise."""
    eye = graded_eyes[4]
    ill = draw_eye(eye, HEIGHT)
    well = draw_eye(eye, HEIGHT, suppressed=True)
    change = ill.image[1].astype(float) - well.image[1]
    means = {finding: change[ill.masks[finding]].mean() for finding in FINDINGS}
    assert means["microaneurysms"] < -8
    assert means["haemorrhages"] < -12
    assert means["hard_exudates"] > 20
    assert means["soft_exudates"] > 12


def test_lesions_lie_in_the_field(graded_eyes):
    """No mask leaves the field of view, which is bright, while the image is black outside of it."""
    drawing = draw_eye(graded_eyes[4], HEIGHT)
    assert all(not (mask & ~drawing.field).any() for mask in drawing.masks.values())
    assert drawing.image[:, ~drawing.field].mean() < 3 < 40 < drawing.image[:, drawing.field].mean()


def test_grade_follows_the_lesion_plan(population):
    """Every grade follows from the counts as the docstring of ``graded`` states."""
    for eye in (eye for pair in population for eye in pair.values()):
        count = eye.lesions.count
        quadrants = eye.lesions.quadrants("haemorrhages", eye.fovea)
        beyond = len(eye.lesions) > count("microaneurysms")
        many = quadrants.min() >= 2 and count("microaneurysms") + count("haemorrhages") >= 25
        severe = many and count("haemorrhages") >= 36 and quadrants.min() >= 4 and count("soft_exudates") >= 2
        # Each condition implies the ones before it, so the grade is the number that hold.
        assert eye.grade == sum((len(eye.lesions) > 0, beyond, many, severe))


def test_drawing_carries_the_planned_grade():
    """The grade of a drawing is that of its plan."""
    assert draw(10, "right", SEED, 64).grade == eyes(10, SEED)["right"].grade


def test_grades_are_spread_as_stated(population):
    """Grades are about as frequent as ``SHARES`` states."""
    grades = np.bincount([eye.grade for pair in population for eye in pair.values()], minlength=5)
    assert np.allclose(grades / grades.sum(), SHARES, atol=0.06)


def test_eyes_of_a_patient_go_together(population):
    """The grades of the two eyes correlate, but are not the same."""
    left, right = ([pair[name].grade for pair in population] for name in ("left", "right"))
    assert 0.6 < np.corrcoef(left, right)[0, 1] < 0.98


def test_left_and_right_are_mirrored():
    """The disc lies to the left in a left eye, to the right in a right eye."""
    for patient in range(3):
        for name, side in (("left", -1), ("right", 1)):
            drawing = draw(patient, name, SEED, 64)
            disc, field = (np.nonzero(mask)[1].mean() for mask in (drawing.masks["optic_disc"], drawing.field))
            assert side * (disc - field) > 10


def test_two_heights_show_the_same_scene(graded_eyes):
    """Masks and smoothed colours of an image twice as high agree with the lower one."""
    low = draw_eye(graded_eyes[4], 128)
    high = draw_eye(graded_eyes[4], 256)
    width = min(low.image.shape[2], high.image.shape[2] // 2)

    def halved(plane):
        return plane[..., : 2 * width].reshape(*plane.shape[:-2], 128, 2, width, 2).mean(axis=(-3, -1))

    assert np.abs(halved(high.image.astype(float)) - low.image[..., :width]).mean() < 4
    for finding in ("haemorrhages", "hard_exudates", "soft_exudates", "optic_disc"):
        large = halved(high.masks[finding]) >= 0.5
        small = low.masks[finding][:, :width]
        assert (large & small).sum() > 0.6 * (large | small).sum()


@pytest.mark.slow
def test_lesion_shares_resemble_idrid(population):
    """Most lesion pixels are haemorrhages and hard exudates, few soft exudates, and fewest microaneurysms."""
    ill = [eye for pair in population[:60] for eye in pair.values() if eye.grade >= 2][:40]
    drawings = [draw_eye(eye, HEIGHT) for eye in ill]
    pixels = {finding: sum(drawing.masks[finding].sum() for drawing in drawings) for finding in FINDINGS}
    shares = {finding: count / sum(pixels.values()) for finding, count in pixels.items()}
    print({finding: round(float(share), 3) for finding, share in shares.items()})
    assert 0.005 < shares["microaneurysms"] < 0.05
    assert 0.04 < shares["soft_exudates"] < 0.16
    assert 0.3 < shares["hard_exudates"] < 0.6
    assert 0.3 < shares["haemorrhages"] < 0.6
