"""Outliers and votes of neighbours: planted ones are found, against plain loops, and chance against enumeration."""

import numpy as np
import pytest

from heatproof.errors import DataError
from heatproof_inspection.neighbours import Neighbours, nearest, vote


def clusters(spread: float = 1.0):
    draws = spread * np.random.default_rng(0).normal(size=(3, 15, 5))
    draws += 20 * np.eye(5)[:3, None]
    return draws.reshape(-1, 5), np.repeat(range(3), 15).tolist()


def test_nearest_against_a_plain_loop() -> None:
    values, _ = clusters()
    values[7] = values[3]  # a duplicate is a neighbour, the case itself is not
    distances, indices = nearest(values, 4)
    for row, point in enumerate(values):
        others = sorted((float(np.linalg.norm(point - other)), index) for index, other in enumerate(values))
        expected = [(distance, index) for distance, index in others if index != row][:4]
        np.testing.assert_allclose(distances[row], [distance for distance, _ in expected], atol=1e-12)
        assert set(indices[row].tolist()) == {index for _, index in expected}


def test_votes_by_hand() -> None:
    labels = [("a",), ("a",), ("b",), ("b", "a"), ("c",)]
    indices = np.array([[1, 2], [0, 3], [3, 4], [0, 4], [2, 3]])
    result = vote(labels, indices)
    assert result.shares.tolist() == [0.5, 1.0, 0.5, 0.5, 0.0]
    assert result.winners == ("a", "a", "a", "a", "b")
    assert result.purity == pytest.approx(0.5)
    pairs = [bool(set(a) & set(b)) for i, a in enumerate(labels) for j, b in enumerate(labels) if i != j]
    assert result.chance == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("space", ["features", "plane"])
def test_a_planted_outlier_ranks_first(planted, space) -> None:
    values, labels = clusters()
    values[20] = [0, 20, 60, 0, 0]
    result = Neighbours(k=5, space=space).inspect(planted(values, labels))
    ranking = result.tables["outliers"]
    assert ranking[0]["id"] == "s020"
    assert "s020" in result.sentences[1]
    assert [row["rank"] for row in ranking] == list(range(1, 46))
    assert [row["distance"] for row in ranking] == sorted((row["distance"] for row in ranking), reverse=True)


@pytest.mark.parametrize(
    "settings", [{}, {"space": "plane"}, {"space": "plane", "method": "tsne", "perplexity": 8}]
)  # fmt: skip
def test_planted_clusters_are_pure(planted, settings) -> None:
    values, labels = clusters()
    result = Neighbours(k=5, **settings).inspect(planted(values, labels))
    assert np.mean([row["share"] for row in result.tables["votes"]]) > 0.95


def test_labels_without_relation_to_the_features_are_near_chance(planted) -> None:
    values = np.random.default_rng(2).normal(size=(90, 5))
    labels = np.random.default_rng(3).integers(0, 3, 90).tolist()
    votes = Neighbours(k=10).inspect(planted(values, labels)).tables["votes"]
    assert 0.2 < np.mean([row["share"] for row in votes]) < 0.45


def test_a_mislabelled_case_is_outvoted(planted) -> None:
    values, labels = clusters()
    labels[4] = 2
    result = Neighbours(k=5).inspect(planted(values, labels))
    votes = result.tables["votes"]
    assert (votes[0]["id"], votes[0]["label"], votes[0]["vote"], votes[0]["share"]) == ("s004", "c", "a", 0.0)
    assert "For 1 of 45 labelled cases the neighbours vote for another label." in result.sentences


def test_few_cases_and_few_labels(planted) -> None:
    values, _ = clusters()
    with pytest.raises(DataError, match="k = 45 needs at least 46 cases; there are 45"):
        Neighbours(k=45).inspect(planted(values))
    result = Neighbours(k=5).inspect(planted(values, [0, 1, 2, *[None] * 42]))
    assert "Only 3 cases have labels, too few for a vote of 5 neighbours." in result.sentences
    assert "votes" not in result.tables
    assert "votes" not in Neighbours(k=5).inspect(planted(values)).tables
