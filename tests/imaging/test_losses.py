"""Annotated mass that a preparation loses is counted on the native image, whatever the preparation does."""

from dataclasses import replace

import numpy as np
import pytest

from heatproof.imaging.losses import losses, remark, with_losses
from heatproof.imaging.transforms import Resize
from heatproof.records import Annotation, Geometry, Sample


def native() -> Sample:
    """A scar of 40 pixels, half of it in the right half; a haze of mass 12, a quarter of it there; an absent cyst."""
    scar = np.zeros((10, 20), dtype=bool)
    scar[2:6, 5:15] = True
    haze = np.zeros((10, 20), dtype=np.float32)
    haze[0, 0], haze[9, 19] = 9, 3
    readers = (Annotation("scar", scar, reader="A"), Annotation("scar", scar, reader="B"))
    absent = Annotation("cyst", np.zeros((10, 20), dtype=bool))
    return Sample("s", np.ones((1, 10, 20), dtype=np.uint8), (*readers, Annotation("haze", haze, "density"), absent))


@pytest.mark.parametrize("size", [(10, 20), (5, 10), (3, 7), (20, 20)])
def test_mass_outside_the_field_is_exact_on_any_grid(size: tuple[int, int]) -> None:
    prepared = Resize(size=size)(native())
    assert losses(native(), prepared) == {
        "scar": pytest.approx((80, 0), abs=1e-4),
        "haze": pytest.approx((12, 0), abs=1e-4),
    }
    left = np.arange(size[1]) < size[1] // 2
    share = (size[1] // 2) / size[1]
    outside = losses(native(), replace(prepared, field=np.broadcast_to(left, size)))
    assert outside["scar"] == pytest.approx((80, 80 * (0.75 - share) / 0.5), abs=1e-3)
    assert outside["haze"] == pytest.approx((12, 3), abs=1e-3)


def test_mass_outside_the_grid_is_lost_too() -> None:
    cut = native()
    cut = replace(cut, image=cut.image[:, :, :10], geometry=Geometry.identity((10, 20)), annotations=tuple(
        replace(annotation, values=annotation.values[:, :10]) for annotation in cut.annotations
    ))  # fmt: skip
    assert losses(native(), cut) == {"scar": (80, 40), "haze": (12, 3)}
    assert with_losses(native(), cut).extras == {"outside_field": {"scar": (80, 40), "haze": (12, 3)}}
    assert with_losses(replace(native(), annotations=()), cut).extras == {}
    assert losses(native(), replace(cut, geometry=None)) == {}, "without a geometry nobody knows"


def test_a_remark_names_findings_that_lose_more_than_a_hundredth() -> None:
    samples = [("a", {"scar": (90, 0), "haze": (100, 1)}), ("b", {"scar": (10, 8), "haze": (1, 0)}), ("a", {})]
    assert remark(samples) == "annotated mass outside the field of view of the prepared image: scar 8.0% (b: 80.0%)"
    assert remark([("a", {"scar": (100, 1)})]) == ""
