"""Preparations against explicit overlap matrices, scipy's filters and generated fundus photographs."""

import time

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from heatproof.errors import DataError, HeatproofError
from heatproof.imaging.area import Grid, averaged, coverage
from heatproof.imaging.losses import losses
from heatproof.imaging.transforms import Resize
from heatproof.records import Annotation, Array, Geometry, Sample
from heatproof_eyetracking.gaze import counted
from heatproof_fundus.photograph import Fundus

RANDOM = np.random.default_rng(5)


def overlap(length: int, edges: Array) -> Array:
    """The share of each pixel (columns) in each cell (rows), computed pair by pair."""
    matrix = np.zeros((len(edges) - 1, length))
    for cell in range(len(edges) - 1):
        for pixel in range(length):
            common = min(pixel + 1, edges[cell + 1]) - max(pixel, edges[cell])
            matrix[cell, pixel] = max(0.0, common) / (edges[cell + 1] - edges[cell])
    return matrix


def photograph(
    height: int = 300, width: int = 420, radius: float = 150, centre: tuple[float, float] | None = None
) -> Array:
    """A bright textured disc on black (3, height, width) uint8."""
    middle = centre or (height / 2, width / 2)
    rows, columns = np.mgrid[:height, :width] + 0.5
    disc = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 <= radius**2
    return (RANDOM.integers(60, 200, (3, height, width)) * disc).astype(np.uint8)


def sample(image: Array, *annotations: Annotation, **fields: object) -> Sample:
    return Sample("IDRiD_07", image, annotations, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (np.linspace(0, 13, 5), np.linspace(0, 17, 8)),
        (np.linspace(-3.3, 15.1, 7), np.linspace(2.25, 9.75, 4)),
        (np.linspace(0, 13, 40), np.linspace(-1, 18, 50)),
        (np.array([-5.0, -2.0, 0.5, 0.75, 12.9, 30.0]), np.array([20.0, 21.0])),
    ],
    ids=["smaller", "shifted", "larger", "uneven"],
)
@pytest.mark.parametrize("kind", [np.uint8, np.bool_, np.float32, np.uint16])
def test_coverage_equals_overlap_matrices(rows: Array, columns: Array, kind: type) -> None:
    values = RANDOM.integers(0, 2 if kind is np.bool_ else 200, (2, 13, 17)).astype(kind)
    expected = overlap(13, rows) @ values.astype(np.float64) @ overlap(17, columns).T
    result = coverage(values, [rows, columns])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_coverage_of_a_volume() -> None:
    values = RANDOM.random((6, 7, 8))
    edges = [np.linspace(0, length, 4) for length in values.shape]
    matrices = [overlap(length, cuts) for length, cuts in zip(values.shape, edges)]
    np.testing.assert_allclose(coverage(values, edges), np.einsum("ai,bj,ck,ijk->abc", *matrices, values), atol=1e-6)


def test_a_lesion_below_one_pixel_keeps_its_mass() -> None:
    mask = np.zeros((2848, 4288), dtype=bool)
    mask[1001:1004, 2500:2502] = True
    prepared = Resize(size=448)(sample(np.zeros((1, 2848, 4288), dtype=np.uint8), Annotation("microaneurysms", mask)))
    (annotation,) = prepared.annotations
    assert 0 < annotation.values.max() < 1
    assert annotation.values.sum() * (2848 / 448) * (4288 / 448) == pytest.approx(6, rel=1e-6)


@pytest.mark.slow
def test_a_full_size_photograph_with_four_masks_is_fast() -> None:
    image = np.full((3, 2848, 4288), 90, dtype=np.uint8)
    masks = [Annotation(str(number), np.ones((2848, 4288), dtype=bool)) for number in range(4)]
    started = time.process_time()
    Fundus()(sample(image, *masks))
    assert time.process_time() - started < 2


def test_images_are_averaged_over_what_is_covered() -> None:
    image = RANDOM.integers(0, 255, (3, 9, 20)).astype(np.uint8)
    grid = Grid((9, 20), (8, 8), (2.5, 2.5))
    rows, columns = (overlap(length, edges) for length, edges in zip((9, 20), grid.edges))
    weights = rows.sum(axis=1)[:, None] * columns.sum(axis=1)
    expected = np.where(weights > 0, rows @ image @ columns.T / np.where(weights > 0, weights, 1), 0)
    np.testing.assert_allclose(averaged(image, grid), expected, atol=1e-4)
    np.testing.assert_allclose(grid.share, weights, atol=1e-12)
    assert (weights == 0).any()
    assert ((weights > 0) & (weights < 1)).any()


@pytest.mark.parametrize(("kind", "largest"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_resize_scales_by_the_type_then_normalises(kind: type, largest: int) -> None:
    image = (RANDOM.random((3, 8, 12)) * largest).astype(kind)
    prepared = Resize(size=(4, 6), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))(sample(image))
    means = image.astype(np.float64).reshape(3, 4, 2, 6, 2).mean(axis=(2, 4)) / largest
    expected = (means - np.reshape([0.1, 0.2, 0.3], (3, 1, 1))) / np.reshape([0.5, 0.6, 0.7], (3, 1, 1))
    assert prepared.image.dtype == np.float32
    np.testing.assert_allclose(prepared.image, expected, atol=1e-5)
    assert prepared.field is not None
    assert prepared.field.all()


def test_resize_stretches_or_pads() -> None:
    image = np.full((1, 20, 40), 255, dtype=np.uint8)
    stretched = Resize(size=10)(sample(image))
    padded = Resize(size=10, fit="pad")(sample(image))
    np.testing.assert_allclose(stretched.image, 1, atol=1e-6)
    np.testing.assert_array_equal(stretched.geometry.affine, np.diag([2, 4, 1]))  # type: ignore[union-attr]
    # The image is 5 of 10 rows high, from 2.5 to 7.5: rows 2 and 7 are half covered, and count.
    covered = np.isin(np.arange(10), range(2, 8))
    np.testing.assert_allclose(padded.image[0], np.where(covered, 1, 0)[:, None] * np.ones(10), atol=1e-6)
    np.testing.assert_array_equal(padded.field, covered[:, None] & np.ones(10, dtype=bool))
    np.testing.assert_allclose(padded.geometry.to_native(np.array([[5.0, 5.0]])), [[10, 20]])  # type: ignore[union-attr]


def test_geometry_leads_through_two_preparations_to_the_original() -> None:
    image = photograph()
    once = Resize(size=(150, 210))(sample(image, geometry=Geometry.identity((300, 420), "a.jpg")))
    geometry = Fundus(size=64)(once).geometry
    assert geometry is not None
    assert geometry.source == "a.jpg"
    np.testing.assert_allclose(geometry.to_native(np.array([[32.0, 32.0]])), [[150, 210]], atol=1e-9)
    edge = geometry.to_native(np.array([[32.0, 0.0]]))[0, 1]
    assert edge == pytest.approx(210 - 150, abs=3)


def test_the_samples_own_field_is_kept() -> None:
    field = np.zeros((8, 12), dtype=bool)
    field[:, 4:7] = True
    prepared = Resize(size=(4, 6))(sample(np.ones((1, 8, 12), dtype=np.uint8), field=field))
    expected = np.zeros((4, 6), dtype=bool)
    expected[:, 2:4] = True
    np.testing.assert_array_equal(prepared.field, expected)


def test_extras_label_and_patient_stay() -> None:
    fields = {"label": 3, "patient": "p1", "extras": {"text": "clear"}}
    prepared = Resize(size=4)(sample(np.ones((1, 8, 8), dtype=np.uint8), **fields))
    assert (prepared.label, prepared.patient, prepared.extras) == (3, "p1", {"text": "clear"})
    assert Fundus(size=4)(sample(np.ones((1, 8, 8), dtype=np.uint8), **fields)).extras["text"] == "clear"


@pytest.mark.parametrize("shape", [(64, 64), (50, 90), (90, 50)])
@pytest.mark.parametrize("value", [1, 77, 255])
def test_a_constant_image_becomes_grey(shape: tuple[int, int], value: int) -> None:
    """Graham's filter maps a constant image to 128 everywhere, which becomes 0."""
    prepared = Fundus(size=48)(sample(np.full((3, *shape), value, dtype=np.uint8)))
    np.testing.assert_allclose(prepared.image, 0, atol=1e-4)


def test_adding_a_constant_changes_nothing() -> None:
    """Graham's filter ignores an added constant, unless values are clamped."""
    image = RANDOM.integers(100, 110, (3, 80, 100)).astype(np.uint8)
    low, high = (Fundus(size=48)(sample(image + np.uint8(step))).image for step in (0, 90))
    assert np.abs(low).max() > 0.01
    np.testing.assert_allclose(low, high, atol=2e-4)


def graham(image: Array, size: int, scale: float, field_share: float = 0.9) -> tuple[Array, float]:
    """The preparation of ``Fundus`` step by step with scipy, for an image with an even size after zooming."""
    row = image[:, image.shape[1] // 2].astype(np.float64).sum(axis=0)
    radius = (row > row.mean() / 10).sum() / 2
    height, width = (round(length * scale / radius) for length in image.shape[1:])
    lengths = zip(image.shape[1:], (height, width))
    rows, columns = (overlap(length, np.linspace(0, length, cells + 1)) for length, cells in lengths)
    zoomed = rows @ image.astype(np.float64) @ columns.T
    sharp = 4 * zoomed - 4 * gaussian_filter(zoomed, (0, scale / 30, scale / 30), mode="mirror", truncate=4) + 128
    canvas = np.full((3, size, size), 128.0)
    top = (height - size) // 2
    left = (width - size) // 2
    for y in range(size):
        for x in range(size):
            inside = (y + 0.5 - size / 2) ** 2 + (x + 0.5 - size / 2) ** 2 <= (field_share * scale) ** 2
            if inside and 0 <= y + top < height and 0 <= x + left < width:
                canvas[:, y, x] = np.clip(sharp[:, y + top, x + left], 0, 255)
    return (canvas - 128) / 128, radius


@pytest.mark.parametrize(("size", "scale"), [(100, 50.0), (80, 50.0), (120, 50.0)], ids=["fits", "cropped", "padded"])
@pytest.mark.parametrize(("height", "radius"), [(300, 150), (320, 200)], ids=["round", "cut above and below"])
def test_fundus_equals_the_steps_with_scipy(size: int, scale: float, height: int, radius: int) -> None:
    image = photograph(height, 600, radius)
    expected, measured_radius = graham(image, size, scale)
    assert measured_radius == radius
    prepared = Fundus(size=size, scale=scale, centre="picture")(sample(image))
    np.testing.assert_allclose(prepared.image, expected, atol=2e-3)
    assert (np.abs(expected) == 1).any(), "the texture reaches the clamp"


def test_without_graham_only_geometry_and_grey_remain() -> None:
    image = photograph(300, 600, 150)
    prepared = Fundus(size=100, graham=False, centre="picture")(sample(image))
    plain = averaged(image, Grid((300, 600), (100, 100), (3.0, 3.0)))
    assert prepared.field is not None
    np.testing.assert_allclose(prepared.image, np.where(prepared.field, (plain - 128) / 128, 0), atol=1e-4)


def test_the_field_is_the_disc_within_the_image() -> None:
    field = Fundus(size=100)(sample(photograph(320, 600, 200))).field
    rows, columns = np.mgrid[:100, :100] + 0.5 - 50
    np.testing.assert_array_equal(field, (rows**2 + columns**2 <= 45**2) & (np.abs(rows) < 40))


@pytest.mark.parametrize("shape", [(300, 600), (240, 600), (300, 260), (420, 470)])
@pytest.mark.parametrize("shift", [(0, 0), (0, -45), (20, 45)])
def test_the_disc_lies_round_the_centre_of_the_field(shape: tuple[int, int], shift: tuple[int, int]) -> None:
    """Wherever the field lies, and where the border of the image cuts it."""
    centre = (shape[0] / 2 + shift[0], shape[1] / 2 + shift[1])
    image = photograph(*shape, 150, centre)
    prepared = Fundus(size=100)(sample(image))
    assert prepared.geometry is not None
    np.testing.assert_allclose(prepared.geometry.to_native([[50, 50]])[0], centre, atol=0.3)
    assert prepared.geometry.affine[0, 0] * 50 == pytest.approx(150, abs=0.4)
    rows, columns = np.mgrid[:100, :100] + 0.5 - 50
    field = np.hypot(rows, columns) <= 45
    edges = [np.abs(centre[axis] + 3 * offset - shape[axis] / 2) < shape[axis] / 2 - 3
             for axis, offset in enumerate((rows, columns))]  # fmt: skip
    np.testing.assert_array_equal(prepared.field[edges[0] & edges[1]], field[edges[0] & edges[1]])


def test_a_field_that_is_not_centred_is_prepared_as_if_it_were() -> None:
    """Its image, annotations and extras are those of the photograph moved to the middle, for the same circle."""
    image = photograph(420, 600, 150)
    scar = image[0] > 190
    moved = [np.roll(values, (30, -80), (-2, -1)) for values in (image, scar)]
    middle = Fundus(size=100)(sample(image, Annotation("scar", scar)))
    shifted = Fundus(size=100)(sample(moved[0], Annotation("scar", moved[1])))
    np.testing.assert_allclose(np.abs(shifted.image - middle.image).mean(), 0, atol=0.02)
    np.testing.assert_allclose(shifted.annotations[0].values, middle.annotations[0].values, atol=0.2)
    cut = Fundus(size=100, centre="picture")(sample(moved[0], Annotation("scar", moved[1])))
    assert losses(sample(moved[0], Annotation("scar", moved[1])), cut)["scar"][1] > 0.3 * scar.sum()
    assert losses(sample(moved[0], Annotation("scar", moved[1])), shifted)["scar"][1] < 0.2 * scar.sum()


def test_text_and_flares_beside_the_field_do_not_move_it() -> None:
    image = photograph(400, 600, 150, (190, 330))
    image[:, 5:30, 10:90] = 255
    image[:, 180:200, 490:520] = 200
    prepared = Fundus(size=100)(sample(image))
    np.testing.assert_allclose(prepared.geometry.to_native([[50, 50]])[0], (190, 330), atol=0.5)


def test_the_field_of_the_dataset_counts_more_than_brightness() -> None:
    rows, columns = np.mgrid[:300, :400] + 0.5
    field = np.hypot(rows - 140, columns - 230) <= 120
    prepared = Fundus(size=100)(sample(np.full((3, 300, 400), 90, dtype=np.uint8), field=field))
    np.testing.assert_allclose(prepared.geometry.to_native([[50, 50]])[0], (140, 230), atol=0.3)


@pytest.mark.parametrize("part", [(slice(60, 140), slice(40, 280)), (slice(None), slice(60, None))], ids=["box", "bar"])
def test_a_field_that_is_not_round_is_refused_with_the_setting(part: tuple[slice, slice]) -> None:
    image = np.zeros((3, 200, 300), dtype=np.uint8)
    image[:, *part] = 90
    with pytest.raises(DataError, match=r"IDRiD_07 .* shows no round field of view: .* or set centre: picture"):
        Fundus(size=32)(sample(image))
    assert Fundus(size=32, centre="picture")(sample(image)).image.shape == (3, 32, 32)


@pytest.mark.parametrize("drop", [False, True])
def test_lesions_outside_the_field_are_dropped_on_request(drop: bool) -> None:
    inner, outer, none = (np.zeros((300, 600), dtype=bool) for _ in range(3))
    inner[140:160, 290:320] = True
    outer[140:160, 290:300] = outer[140:160, 446:450] = outer[0:5, 0:4] = True
    annotations = [Annotation("inside", inner), Annotation("both", outer), Annotation("absent", none)]
    settings = {"size": 100, "drop_outside_field": drop, "centre": "picture"}
    prepared = Fundus(**settings)(sample(photograph(300, 600, 150), *annotations))
    masses = {annotation.finding: annotation.values.sum() * 9 for annotation in prepared.annotations}
    assert masses == pytest.approx({"inside": 600, "both": 200 if drop else 280, "absent": 0}, rel=1e-5)


def test_a_source_named_error_for_images_without_a_field() -> None:
    dark = sample(np.zeros((3, 40, 40), dtype=np.uint8), geometry=Geometry.identity((40, 40), "night.jpg"))
    for image in (
        dark,
        sample(np.ones((3, 2, 4000), dtype=np.uint8), geometry=Geometry.identity((2, 4000), "night.jpg")),
    ):
        with pytest.raises(DataError, match=r"night\.jpg .* shows no field of view"):
            Fundus(size=32)(image)


def test_one_bright_pixel_does_not_ask_for_a_huge_canvas() -> None:
    image = np.zeros((3, 400, 400), dtype=np.uint8)
    image[:, 200, 200] = 255
    assert Fundus(size=32)(sample(image)).image.shape == (3, 32, 32)


def test_mistakes_are_explained() -> None:
    grey = sample(np.ones((1, 8, 8), dtype=np.uint8))
    with pytest.raises(DataError, match="channels of IDRiD_07: 1, values of mean: 3"):
        Resize(size=4, mean=(1, 2, 3))(grey)
    with pytest.raises(DataError, match="2 spatial axes"):
        Resize(size=(4, 4, 4))(grey)
    with pytest.raises(DataError, match="photographs have two"):
        Fundus(size=4)(sample(np.ones((1, 8, 8, 8), dtype=np.uint8)))
    with pytest.raises(DataError, match=r"type int32 from 1 to 1; give unsigned integers, or floats in \[0, 1\]"):
        Resize(size=4)(sample(np.ones((1, 8, 8), dtype=np.int32)))
    for beyond in (-0.1, 812.0):
        with pytest.raises(DataError, match=r"type float64 from .*; give unsigned integers, or floats in \[0, 1\]"):
            Resize(size=4)(sample(np.array([[[0.0, beyond]]])))
    with pytest.raises(HeatproofError, match="size"):
        Resize(size=0)
    with pytest.raises(HeatproofError, match="std"):
        Resize(size=4, std=(0.0,))


def test_identity_depends_on_the_params() -> None:
    assert Fundus().identity == Fundus(size=448).identity != Fundus(field_share=0.8).identity
    assert Fundus().scale == 224


def test_spatial_extras_move_with_the_image() -> None:
    image = np.ones((1, 20, 30), dtype=np.uint8)
    frames = counted(RANDOM.random((4, 2)) * (20, 30), (20, 30), 3.0)
    scores = RANDOM.random((2, 20, 30))
    still = RANDOM.random((30, 20))
    points = RANDOM.random((4, 3))
    extras = {"frames": frames, "scores": scores, "points": points, "still": still, "words": "clear"}
    moved = Resize(size=(5, 6))(sample(image, Annotation("gaze", frames.total(), "density"), extras=extras)).extras
    assert moved.keys() == extras.keys()
    np.testing.assert_allclose(moved["scores"], scores.reshape(2, 5, 4, 6, 5).mean(axis=(2, 4)), atol=1e-6)
    means = frames.values().reshape(4, 5, 4, 6, 5).mean(axis=(2, 4))
    np.testing.assert_allclose(moved["frames"].values(), means, atol=1e-7)
    assert (moved["points"] is points, moved["still"] is still, moved["words"]) == (True, True, "clear")
    padded = Resize(size=12, fit="pad")(sample(image, extras=extras))
    total = padded.extras["frames"].total()
    assert total.sum() * 2.5**2 == pytest.approx(4, rel=1e-5)
    assert not total[padded.image[0] == 0].any()


def test_fundus_moves_spatial_extras_too() -> None:
    image = photograph()
    extras = {"scores": image[0].astype(np.float64)}
    prepared = Fundus(size=50, graham=False)(sample(image, Annotation("same", image[0] / 255), extras=extras))
    np.testing.assert_allclose(prepared.extras["scores"], 255 * prepared.annotations[0].values, rtol=1e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_white_may_be_the_images_maximum(kind: type) -> None:
    image = RANDOM.integers(1, 100, (3, 8, 12)).astype(kind)
    prepared = Resize(size=(4, 6), white="maximum", mean=(0.5,))(sample(image))
    means = image.astype(np.float64).reshape(3, 4, 2, 6, 2).mean(axis=(2, 4)) / image.max()
    np.testing.assert_allclose(prepared.image, means - 0.5, atol=1e-6)
    black = Resize(size=4, white="maximum")(sample(np.zeros((1, 8, 8), dtype=kind)))
    np.testing.assert_array_equal(black.image, np.zeros((1, 4, 4)))
    with pytest.raises(DataError, match="int32"):
        Resize(size=4, white="maximum")(sample(np.ones((1, 8, 8), dtype=np.int32)))


def test_masks_in_few_cells_equal_overlap_matrices() -> None:
    mask = np.zeros((400, 300), dtype=bool)
    mask[371:380, 13:15] = mask[100, 299] = True
    edges = [np.linspace(-20, 420, 61), np.linspace(7.5, 290.25, 49)]
    expected = overlap(400, edges[0]) @ mask.astype(np.float64) @ overlap(300, edges[1]).T
    np.testing.assert_allclose(coverage(mask, edges), expected, atol=1e-6)
    assert not coverage(np.zeros_like(mask), edges).any()


@pytest.mark.parametrize("preparation", [Resize(size=16, channels=3), Fundus(size=64, channels=3)])
def test_grey_is_repeated_to_the_channels_asked_for(preparation: Resize | Fundus) -> None:
    grey = np.full((1, 48, 48), 90, dtype=np.uint8)
    grey[:, 10:30, 20:40] = 160
    colour = np.repeat(grey, 3, axis=0)
    result = preparation(Sample("a", grey)).image
    np.testing.assert_array_equal(result, preparation(Sample("a", colour)).image)
    assert result.shape[0] == 3
    with pytest.raises(DataError, match="a has 4 channels, but channels is 3"):
        preparation(Sample("a", np.repeat(grey, 4, axis=0)))


@pytest.mark.parametrize("preparation", [Resize(size=16), Fundus(size=64)])
@pytest.mark.parametrize("channels", [1, "luminance"])
def test_equal_channels_are_one(preparation: Resize | Fundus, channels: int | str) -> None:
    grey = photograph(48, 48, 24)[:1]
    expected = preparation(Sample("a", grey)).image
    single = preparation.with_(channels=channels)
    np.testing.assert_array_equal(single(Sample("a", grey)).image, expected)
    np.testing.assert_allclose(single(Sample("a", np.repeat(grey, 3, axis=0))).image, expected, atol=1e-6)


def test_colours_become_one_channel_only_as_their_luminance() -> None:
    colours = photograph(48, 48, 24)
    red, green, blue = Resize(size=16)(Sample("a", colours)).image.astype(np.float64)
    image = Resize(size=16, channels="luminance", mean=(0.5,))(Sample("a", colours)).image
    np.testing.assert_allclose(image, [0.299 * red + 0.587 * green + 0.114 * blue - 0.5], atol=1e-6)
    by_pillow = np.asarray(Image.fromarray(colours.transpose(1, 2, 0)).convert("L"))
    luminance = Resize(size=48, channels="luminance")(Sample("a", colours)).image
    assert abs(luminance * 255 - by_pillow).max() <= 1
    with pytest.raises(DataError, match=r"a has 3 channels, but channels is 1; convert it, or set .* to luminance"):
        Resize(size=16, channels=1)(Sample("a", colours))
    with pytest.raises(DataError, match=r"a has 2 channels, but channels is 1; convert it\."):
        Resize(size=16, channels="luminance")(Sample("a", colours[:2]))
