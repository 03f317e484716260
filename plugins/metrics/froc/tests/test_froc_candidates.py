"""Candidate lists as a metric: tables and local maxima, the pure functions as reference, resamples, and errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from heatproof.errors import DataError, HeatproofError
from heatproof.metric import Case, Undefined
from heatproof.records import Annotation, Geometry, Heatmap, Sample
from heatproof.results.significance import paired_test
from heatproof.testing import conforms
from heatproof_froc.candidates import candidate_curve, matched
from heatproof_froc.curve import RATES, sensitivity_at
from heatproof_froc.froc_candidates import FrocCandidates
from heatproof_froc.lists import Candidates, on_grid

Array = NDArray[Any]
Table = Callable[[str], Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    def write(text: str) -> Path:
        path = tmp_path / "candidates.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def case(id: str, mask: Array, heat: Array | None = None, geometry: Geometry | None = None) -> Case:
    annotations = (Annotation("lesion", mask.astype(np.float32)),)
    sample = Sample(id, np.zeros((1, *mask.shape), np.float32), annotations, geometry=geometry)
    return Case(sample, heatmap=None if heat is None else Heatmap(heat.astype(np.float32)))


def drawn(seed: int, shape: tuple[int, ...] = (30, 31)) -> tuple[Array, Array]:
    """The mask of some lesions, and candidates (c, d + 1): pixel and score, some on lesions."""
    generator = np.random.default_rng(seed)
    mask = gaussian_filter(generator.normal(size=shape), 1.5) > 0.25
    hits = generator.permutation(np.argwhere(mask))[:5]
    points = np.concatenate([generator.integers(0, shape, (6, len(shape))), hits])
    return mask, np.column_stack([points, np.round(generator.random(len(points)), 1)])


def written(candidates: dict[str, Array]) -> str:
    rows = [f"{id},{x:g},{y:g},{score:g}" for id, values in candidates.items() for y, x, score in values]
    return "\n".join(["id,x,y,score", *rows])


def measured(metric: FrocCandidates, cases: list[Case]) -> dict[str, Array]:
    rows = [metric.measure(example) for example in cases]
    return {name: np.stack([np.asarray(row[name], dtype=np.float64) for row in rows]) for name in rows[0]}


def reference(images: list[tuple[Array, Array]], drop_lowest: bool, interpolation: Any) -> Array:
    """The sensitivity at the usual rates by the pure functions, of all images at once."""
    best = []
    false = []
    for mask, candidates in images:
        numbers = label(mask, np.ones((3, 3)))[0]
        of_lesions, beside = matched(candidates[:, :2].astype(int), candidates[:, 2], numbers)
        best.append(of_lesions)
        false.append(beside)
    curve = candidate_curve(np.concatenate(best), np.concatenate(false), len(images), drop_lowest)
    return sensitivity_at(curve.false_positives, curve.sensitivity, RATES, interpolation)


@conforms(FrocCandidates(), FrocCandidates(distance=2, most=7, readers="each", interpolation="step", drop_lowest=True))
def test_conformance(check: Any) -> None:
    check()


@pytest.mark.parametrize("interpolation", ["linear", "step"])
@pytest.mark.parametrize("drop_lowest", [False, True])
def test_resamples_of_a_table_against_the_pure_functions(table: Table, drop_lowest: bool, interpolation: Any) -> None:
    images = {f"image {seed}": drawn(seed) for seed in range(6)}
    images["image 5"] = (images["image 5"][0] & False, images["image 5"][1])
    # Every lesion of the first image is hit: the lowest threshold can be dropped.
    mask, candidates = images["image 0"]
    hits = np.array([np.argwhere(label(mask, np.ones((3, 3)))[0] == number)[0] for number in
                     range(1, label(mask, np.ones((3, 3)))[1] + 1)])  # fmt: skip
    images["image 0"] = (mask, np.vstack([candidates, np.column_stack([hits, np.linspace(0.2, 0.7, len(hits))])]))
    path = table(written({id: values for id, (_, values) in images.items()}))
    metric = FrocCandidates(table=path, drop_lowest=drop_lowest, interpolation=interpolation)
    assert metric.needs == {"annotation"}
    cases = [case(id, mask) for id, (mask, _) in images.items()]
    counts = np.vstack([np.ones((1, 6), int), [[1, 0, 0, 0, 0, 2]], np.random.default_rng(0).integers(0, 3, (20, 6))])
    summary = metric.summarise(measured(metric, cases), counts)
    for row, values in zip(counts, summary["point_curve"]):
        repeated = [image for image, count in zip(images.values(), row) for _ in range(count)]
        assert values == pytest.approx(reference(repeated, drop_lowest, interpolation), rel=1e-12)
    assert summary["point"] == pytest.approx(summary["point_curve"].mean(axis=1))
    assert summary["at_0.5"].tolist() == summary["point_curve"][:, 2].tolist()
    assert 0 < summary["point"][0] < 1


def test_volumes_and_readers(table: Table) -> None:
    mask = np.zeros((4, 5, 6))
    mask[1, 2, 3] = 1
    path = table("id;z;y;x;score\nscan;1;2;3;0.9\nscan;1;2;3;0.8\nscan;3;4;5;0.7\n")
    row = FrocCandidates(table=path).measure(case("scan", mask))
    assert [row[name].tolist() for name in ("threshold", "point_hits", "point_false_positives")] == [
        [0.9, 0.7, 0.7], [1, 1, 1], [0, 1, 1]
    ]  # fmt: skip
    annotations = [Annotation("lesion", values.astype(np.float32), reader=reader)
                   for reader, values in (("a", mask), ("b", 0 * mask))]  # fmt: skip
    both = Case(Sample("scan", np.zeros((1, 4, 5, 6)), tuple(annotations)))
    row = FrocCandidates(table=path, readers="each").measure(both)
    assert (row["lesions"], row["images"], row["point_hits"].tolist()) == (1, 2, [1, 1, 1])
    assert row["point_false_positives"].tolist() == [1, 2, 4]


def test_native_pixels_are_moved_to_the_grid() -> None:
    """A grid of half the resolution, cropped by 10 native pixels on top, and mirrored."""
    geometry = Geometry(np.array([[2.0, 0, 10], [0, -2, 40], [0, 0, 1]]), (50, 40))
    sample = Sample("x", np.zeros((1, 20, 20)), geometry=geometry)
    candidates = Candidates(np.array([[10.0, 39], [11, 38.5], [49, 0], [9, 5]]), np.array([0.1, 0.2, 0.3, 0.4]))
    moved, beside = on_grid(candidates, sample)
    assert moved.points.tolist() == [[0, 0], [0, 0], [19, 19]]
    assert moved.scores.tolist() == [0.1, 0.2, 0.3]
    assert beside.tolist() == [0.4]
    with pytest.raises(DataError, match=r"x at \(40, 3\) lies outside its image of 40 × 50 pixels"):
        on_grid(Candidates(np.array([[3.0, 40]]), np.ones(1)), sample)


def test_a_candidate_beside_the_grid_is_a_false_positive(table: Table) -> None:
    geometry = Geometry(np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]]), (18, 8))
    path = table("id,x,y,score\na,3,13,0.5\na,3,2,0.7\n")
    mask = np.zeros((8, 8))
    mask[3, 3] = 1
    row = FrocCandidates(table=path).measure(case("a", mask, geometry=geometry))
    assert (row["point_hits"].tolist(), row["point_false_positives"].tolist()) == ([0, 1], [1, 1])


class TestPeaks:
    def test_local_maxima_of_the_heatmap(self) -> None:
        heat = np.zeros((30, 30))
        for position, value in {(5, 5): 3.0, (5, 7): 2.0, (20, 20): 1.0, (28, 1): 4.0}.items():
            heat[position] = value
        mask = np.zeros((30, 30))
        mask[4:7, 4:7] = 1
        row = FrocCandidates(distance=3, most=10).measure(case("a", mask, heat))
        assert row["threshold"][:3].tolist() == [4, 3, 1]
        assert (row["point_hits"][:3].tolist(), row["point_false_positives"][:3].tolist()) == ([0, 1, 1], [1, 1, 2])
        assert FrocCandidates(most=1).measure(case("a", mask, heat))["point_hits"].tolist() == [0]
        assert FrocCandidates().measure(case("a", mask, 0 * heat))["point_false_positives"].max() == 0

    def test_a_paired_test_ignores_the_scale(self) -> None:
        metric = FrocCandidates(most=8)
        generator = np.random.default_rng(1)
        masks = [drawn(seed)[0] for seed in range(10)]
        first, second = (
            measured(metric, [case("a", mask, gaussian_filter(generator.normal(size=mask.shape), 1)) for mask in masks])
            for _ in range(2)
        )
        ids = [str(number) for number in range(10)]
        results = []
        for scale in (1.0, 1e-4):
            scaled = {**second, "threshold": scale * second["threshold"]}
            test = paired_test(metric.summarise, first, scaled, ids, "point", 200, 0, metric.exchangeable)
            results.append((test.p, test.difference))
        assert results[0] == results[1]


class TestTables:
    MASK = np.eye(4)

    def test_an_image_without_candidates_has_a_row(self, table: Table) -> None:
        path = table("id,x,y,score\na,,,\nb,1,1,0.5\n")
        assert FrocCandidates(table=path).measure(case("a", self.MASK))["point_false_positives"].tolist() == [0]
        with pytest.raises(DataError, match=r"no row for c.png; .*unlisted: empty"):
            FrocCandidates(table=path).measure(case("c.png", self.MASK))
        row = FrocCandidates(table=path, unlisted="empty").measure(case("c.png", self.MASK))
        assert (row["point_hits"].tolist(), row["lesions"]) == ([0], 1)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("id,x,y,score\na,1,one,0.5", r"line 2: y is 'one'; give a finite number"),
            ("id,x,y,score\na,1,1,nan", r"line 2: score is 'nan'"), ("id,x,y,score\na,1,1,", r"line 2: score is ''"),
            ("id,x,y\na,1,1", "score"), ("id,x,y,z,score\na,1,1,1,0.5", "3 coordinates, its image 2 axes"),
            ("id,x,y,score\na,9,1,0.5", r"outside its image of 4 × 4"),
        ],
    )  # fmt: skip
    def test_faults_of_a_table(self, table: Table, text: str, reason: str) -> None:
        with pytest.raises(DataError, match=reason):
            FrocCandidates(table=table(text)).measure(case("a", self.MASK))

    def test_the_identity_follows_the_file(self, table: Table) -> None:
        identities = [FrocCandidates(table=table(f"id,x,y,score\na,{x},1,0.5")).identity for x in (1, 2, 1)]
        assert identities[0] == identities[2] != identities[1]

    def test_nothing_examined(self, table: Table) -> None:
        with pytest.raises(Undefined, match="no finding was examined"):
            FrocCandidates(table=table("id,x,y,score")).measure(Case(Sample("a", np.zeros((1, 4, 4)))))

    @pytest.mark.parametrize("wrong", [{"most": 0}, {"distance": 0}, {"unlisted": "ignore"}, {"rates": []}])
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(HeatproofError, match=f"FrocCandidates: .*{next(iter(wrong))}"):
            FrocCandidates(**wrong)
