"""The embedding by constraints: the published example, gradients, invariances, and truly plane data."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from heatproof.errors import DataError
from heatproof_inspection.assembly import assembled, embedded, joined, reach, rigid
from heatproof_inspection.constraint_embedding import ConstraintEmbedding
from heatproof_inspection.constraints import constraints, hinge, refined, violations

LINE = np.array([[0.0], [1], [3], [6]])


def plane_data(count: int = 70, channels: int = 8):
    generator = np.random.default_rng(5)
    axes, _ = np.linalg.qr(generator.normal(size=(channels, 2)))
    return generator.normal(size=(count, 2)) @ axes.T + 3


def roll(count: int = 80):
    """A sheet that is rolled up: its neighbourhoods are plane, its projection is not."""
    generator = np.random.default_rng(6)
    angle = 1.5 * np.pi * (1 + 2 * np.sort(generator.random(count)))
    return np.stack([angle * np.cos(angle), angle * np.sin(angle), 4 * generator.random(count)], axis=1)


def plain_satisfied(values, positions, k):
    """Whether the sets of the k nearest are equal, by loops; for data without ties."""
    results = []
    for index in range(len(values)):
        sets = []
        for points in (values, positions):
            order = sorted(
                (float(np.linalg.norm(points[index] - points[other])), other)
                for other in range(len(points))
                if other != index
            )
            sets.append({other for _, other in order[:k]})
        results.append(sets[0] == sets[1])
    return results


def test_published_example() -> None:
    problem = constraints(LINE, 1)
    assert problem.satisfied(LINE).tolist() == [True] * 4
    assert problem.satisfied(np.array([[0.0], [5], [1], [6]])).tolist() == [False] * 4


def test_satisfied_against_plain_sets_and_its_invariances() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(30, 4))
    positions = values[:, :2] + 0.3 * generator.normal(size=(30, 2))
    problem = constraints(values, 3)
    expected = plain_satisfied(values, positions, 3)
    assert 0 < sum(expected) < 30
    assert problem.satisfied(positions).tolist() == expected
    turn, _ = np.linalg.qr(generator.normal(size=(2, 2)))
    for changed in (positions @ turn, positions - np.array([3, 7]), 0.01 * positions):
        assert problem.satisfied(changed).tolist() == expected
    assert constraints(1e3 * values, 3).satisfied(positions).tolist() == expected


def test_ties_may_be_broken_any_way() -> None:
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    problem = constraints(square, 1)
    kite = square + np.array([[0, 0], [0, 0], [0, 0.1], [0, 0]])
    assert problem.satisfied(square).all()
    assert problem.satisfied(kite).all()
    assert not problem.satisfied(np.array([[0.0, 0], [3, 0], [1, 1], [0, 3]])).all()
    assert not problem.satisfied(np.zeros((4, 2))).any()


def test_gradient_of_the_hinge_against_differences() -> None:
    problem = constraints(np.random.default_rng(2).normal(size=(9, 4)), 2)
    positions = np.random.default_rng(3).normal(size=(9, 2))
    loss, gradient = hinge(positions, problem.near, problem.far, 0.2)
    apart = cdist(positions, positions)
    plain = sum(
        max(0, apart[i, j] + 0.2 - apart[i, l]) ** 2
        for i in range(9)
        for j in range(9)
        for l in range(9)  # noqa: E741
        if problem.near[i, j] and problem.far[i, l]
    )
    assert loss == pytest.approx(plain)
    for index in np.ndindex(9, 2):
        step = np.zeros((9, 2))
        step[index] = 1e-6
        ends = [hinge(positions + sign * step, problem.near, problem.far, 0.2)[0] for sign in (1, -1)]
        assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-5)


def test_descent_violates_fewer_cases() -> None:
    problem = constraints(LINE, 1)
    start = np.array([[0.0, 0], [5, 0.5], [1, 0.2], [6, 0]])
    assert violations(start, problem.near, problem.far) == 4
    better = refined(start, problem.near, problem.far, 0.3, 200)
    assert violations(better, problem.near, problem.far) < 4
    assert refined(LINE @ [[1.0, 0]], problem.near, problem.far, 0.3, 200).tolist() == (LINE @ [[1.0, 0]]).tolist()


@pytest.mark.parametrize("mirror", [1, -1])
def test_parts_are_joined_where_they_were(mirror) -> None:
    points = np.random.default_rng(4).normal(size=(20, 2))
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]]) @ np.diag([1, mirror])
    part = points[12:] @ turn + [40, 3]
    np.testing.assert_allclose(rigid(part, points[12:]), points[12:], atol=1e-9)
    rough = points[12:] + 0.1 * np.random.default_rng(5).normal(size=(8, 2))
    result = joined(points[:12], part, rough, cdist(points[:12], points[12:]), 4)
    np.testing.assert_allclose(result, points[12:], atol=1e-6)


def test_parts_of_plane_data_keep_all_distances() -> None:
    values = plane_data()
    problem = constraints(values, 4)
    positions = assembled(values, problem, np.arange(len(values)), 0.1 * reach(problem), 50)
    np.testing.assert_allclose(cdist(positions, positions), cdist(values, values), atol=1e-4)


@pytest.mark.parametrize("k", [1, 4])
def test_plane_data_satisfy_all_constraints(planted, k) -> None:
    subject = planted(plane_data(), [row % 3 for row in range(70)])
    result = ConstraintEmbedding(neighbours=k).inspect(subject)
    assert all(row["satisfied"] for row in result.tables["constraints"])
    assert "For 70 of 70 cases (100.0%)" in result.sentences[0]


def test_a_rolled_sheet_satisfies_more_than_by_principal_components() -> None:
    values = roll()
    result = embedded(values, 3, 0.1, 100)
    assert result.satisfied.tolist() == plain_satisfied(values, result.positions, 3)
    assert result.satisfied.sum() > result.by_components
    again = embedded(values, 3, 0.1, 100)
    np.testing.assert_array_equal(result.positions, again.positions)


def test_listed_neighbours_are_those_of_the_features(planted) -> None:
    result = ConstraintEmbedding(neighbours=1).inspect(planted(np.hstack([LINE, 0 * LINE])))
    assert [row["neighbours"] for row in result.tables["constraints"]] == ["s001", "s000", "s001", "s002"]


def test_few_or_equal_cases_are_refused(planted) -> None:
    with pytest.raises(DataError, match="an embedding by 5 neighbours needs at least 7 cases; there are 6"):
        ConstraintEmbedding().inspect(planted(np.eye(6)))
    with pytest.raises(DataError, match="have the same features"):
        ConstraintEmbedding().inspect(planted(np.ones((20, 3))))
