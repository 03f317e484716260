"""Projections against closed forms and plain implementations; the seed; and what cannot be projected."""

import itertools

import numpy as np
import pytest

from heatproof.errors import DataError, ModelError
from heatproof.records import Array
from heatproof_inspection.projection import Projection, components, tsne


def clusters(count: int = 20, channels: int = 6) -> tuple[Array, list[int]]:
    draws = np.random.default_rng(0).normal(size=(3, count, channels))
    draws += 20 * np.eye(channels)[:3, None]
    return draws.reshape(-1, channels), np.repeat(range(3), count).tolist()


def entropy_perplexity(row: Array) -> float:
    positive = row[row > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def plain_affinities(values: Array, perplexity: float) -> Array:
    """Symmetric affinities of t-SNE; the width of each Gaussian by bisection."""
    squares = ((values[:, None] - values[None]) ** 2).sum(-1)
    rows = []
    for index, row in enumerate(squares):
        others = np.where(np.arange(len(row)) == index, np.inf, row)
        low = 1e-12
        high = 1e12
        for _ in range(200):
            precision = np.sqrt(low * high)
            weights = np.exp(-precision * (others - others.min()))
            weights /= weights.sum()
            if entropy_perplexity(weights) > perplexity:
                low = precision
            else:
                high = precision
        rows.append(weights)
    conditional = np.array(rows)
    return (conditional + conditional.T) / (2 * len(values))


def divergence(affinities: Array, positions: Array) -> float:
    weights = 1 / (1 + ((positions[:, None] - positions[None]) ** 2).sum(-1))
    np.fill_diagonal(weights, 0)
    weights /= weights.sum()
    inside = affinities > 0
    return float((affinities[inside] * np.log(affinities[inside] / weights[inside])).sum())


def test_components_against_the_eigenvectors_of_the_covariance() -> None:
    values = np.random.default_rng(3).normal(size=(30, 5)) @ np.diag([5, 3, 2, 1, 0.1])
    result = components(values, 5)
    eigenvalues, vectors = np.linalg.eigh(np.cov(values.T))
    np.testing.assert_allclose(result.variances, eigenvalues[::-1], rtol=1e-9)
    np.testing.assert_allclose(np.abs(result.axes @ vectors[:, ::-1]), np.eye(5), atol=1e-9)
    np.testing.assert_allclose(result.axes @ result.axes.T, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(result.scores @ result.axes + values.mean(axis=0), values, atol=1e-9)
    assert (np.diff(result.variances) <= 0).all()
    assert result.ratios.sum() == pytest.approx(1)


def test_signs_of_components_do_not_depend_on_the_solver() -> None:
    """More cases than channels are solved by the covariance, fewer by singular values."""
    values = np.random.default_rng(3).normal(size=(30, 5)) @ np.diag([5, 3, 2, 1, 0.1])
    wide = np.hstack([values, np.zeros((30, 40))])
    np.testing.assert_allclose(components(wide, 2).scores, components(values, 2).scores, atol=1e-9)


def test_pca_of_a_diamond(planted) -> None:
    subject = planted(np.array([[2.0, 0], [0, 1], [-2, 0], [0, -1]]), [0, 1, 0, 1], ["a", "b"])
    result = Projection().inspect(subject)
    assert [row["ratio"] for row in result.tables["variance"]] == pytest.approx([0.8, 0.2])
    positions = [(row["x"], row["y"]) for row in result.tables["projection"]]
    np.testing.assert_allclose(positions, [[2, 0], [0, 1], [-2, 0], [0, -1]], atol=1e-6)
    assert "80.0%" in result.sentences[1]
    assert result.points["projection"].rows.tolist() == [0, 1, 2, 3]


def test_tsne_of_three_points_at_equal_distances_is_exact() -> None:
    """All affinities are 1/6, which an equilateral triangle of any small size has too: the divergence is 0."""
    affinities = plain_affinities(np.eye(3), 2)
    np.testing.assert_allclose(affinities[~np.eye(3, dtype=bool)], 1 / 6)
    positions, reached = tsne(np.eye(3), 2.0, seed=1)
    assert divergence(affinities, positions.astype(float)) == pytest.approx(0, abs=1e-4)
    assert reached == pytest.approx(0, abs=1e-4)


def test_tsne_against_a_plain_divergence() -> None:
    values, _ = clusters(12)
    positions, reached = tsne(values, 5.0, seed=1)
    affinities = plain_affinities(values, 5.0)
    assert affinities.sum() == pytest.approx(1)
    exact = divergence(affinities, positions.astype(float))
    assert reached == pytest.approx(exact, abs=0.05)
    assert exact < divergence(affinities, components(values, 2).scores) / 2


@pytest.mark.parametrize(
    "settings",
    [{"method": "tsne", "perplexity": 5}, {"method": "tsne", "perplexity": 5, "pca_first": 3}, {"method": "pca"}],
)
def test_clusters_stay_apart_and_the_seed_decides(planted, settings) -> None:
    values, labels = clusters()
    subject = planted(values, labels)
    first, second = (Projection(**settings).inspect(subject) for _ in range(2))
    positions = first.points["projection"].positions
    np.testing.assert_array_equal(positions, second.points["projection"].positions)
    groups = [positions[np.array(labels) == label] for label in range(3)]
    widths = [np.linalg.norm(group - group.mean(axis=0), axis=1).mean() for group in groups]
    gaps = [np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) for a, b in itertools.combinations(groups, 2)]
    assert min(gaps) > 2 * max(widths)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_umap_keeps_clusters_apart_and_the_seed_decides(planted) -> None:
    values, labels = clusters()
    subject = planted(values, labels)
    first, second = (Projection(method="umap", neighbours=8).inspect(subject) for _ in range(2))
    positions = first.points["projection"].positions
    np.testing.assert_array_equal(positions, second.points["projection"].positions)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1) + 1e9 * np.eye(60)
    assert [labels[row] for row in distances.argmin(axis=1)] == labels


def test_a_sample_is_said_and_drawn_by_the_seed(planted) -> None:
    values, labels = clusters()
    subject = planted(values, labels)
    result = Projection(limit=25).inspect(subject)
    assert "A sample of 25 of 60 cases, drawn by the seed 0." in result.sentences
    rows = result.points["projection"].rows
    assert len(set(rows.tolist())) == 25
    assert [row["id"] for row in result.tables["projection"]] == [subject.cases[row].id for row in rows]
    subject.seed = 1
    assert Projection(limit=25).inspect(subject).points["projection"].rows.tolist() != rows.tolist()
    subject.seed = 0


def test_one_class_is_said(planted) -> None:
    values, _ = clusters()
    result = Projection().inspect(planted(values, [0] * 60))
    assert "All labelled cases have the label a, so no separation of classes can be seen." in result.sentences
    assert "No case has a label." in Projection().inspect(planted(values)).sentences


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        ({"method": "tsne"}, np.eye(5), r"t-SNE with perplexity 30 needs at least 31 cases; there are 5"),
        ({"method": "umap"}, np.eye(5), r"UMAP with 15 neighbours needs at least 16 cases; there are 5"),
        ({}, np.eye(2), r"a plane needs at least 3 cases; there are 2"),
        ({}, np.ones((6, 4)), r"all 6 cases have the same features at layer '0'"),
        ({}, np.arange(6.0)[:, None], r"has one feature, and a plane needs two"),
        ({"pca_first": 9}, np.eye(5), r"pca_first is 9, but 5 cases with 5 features have at most 4 components"),
    ],
)
def test_what_cannot_be_projected(planted, settings, values, message) -> None:
    with pytest.raises(DataError, match=message):
        Projection(**settings).inspect(planted(values))


def test_features_that_are_not_finite_name_their_case(planted) -> None:
    values = np.eye(6)
    values[4, 2] = np.nan
    with pytest.raises(DataError, match="the features of 1 of 6 cases at layer '0' are not finite, first of s004"):
        Projection().inspect(planted(values))


def test_an_unknown_layer_is_refused(planted) -> None:
    with pytest.raises(ModelError, match="has no layer 'absent'"):
        Projection(layer="absent").layers(planted(np.eye(5)).model)
