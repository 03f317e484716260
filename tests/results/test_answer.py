"""The answer of a ranking: its sentence on planted differences, and groups against their definition."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heatproof.registry.catalog import Catalog
from heatproof.results.answer import answer, cliques, groups
from heatproof.results.finished import Results, read_rows
from heatproof.results.ranking import RankedCombination, Ranking, Standard, rankings

NAN = float("nan")


def ranking(
    values: Mapping[str, float],
    apart: Mapping[str, float],
    *,
    chance: float | None = 0.15,
    random: Mapping[str, float] | None = None,
    higher: bool = True,
    shares: Mapping[str, float] | None = None,
    reverse: Sequence[str] = (),
) -> Ranking:
    """A ranking of methods named by one letter; ``apart``: two letters → p, 0.5 for others; ``random``: letter → p.

    Pairs in ``reverse`` differ in the other direction than their values.
    """
    random = random or {}
    sign = 1 if higher else -1
    rows = [{"combination": name, "model": "net", "explainer": name, "target": "predicted", "reduction": "max",
             "value": value, "baseline": False, "p_random_holm": random.get(name, 0.004),
             "difference_to_random": value - (chance or 0)} for name, value in values.items()]  # fmt: skip
    if chance is not None:
        rows.append({**rows[0], "combination": "random", "explainer": "random", "value": chance, "baseline": True})
    comparisons = [
        {"combination_a": a, "combination_b": b, "p_holm": apart.get(a + b, 0.5),
         "difference": sign * (-1 if a + b in reverse else 1)}
        for a, b in combinations(values, 2)
    ]  # fmt: skip
    entries = tuple(RankedCombination(f"net × {row['explainer']}", "", {}, {}, row) for row in rows)
    ranks = tuple({"combination": name, "best_share": share} for name, share in (shares or {}).items())
    standard = Standard("v", higher)
    return Ranking("d", "all", "m", standard, ("v",), entries, comparisons=tuple(comparisons), ranks=ranks)


def test_a_benchmark_without_a_value_is_said() -> None:
    """As where a case has no annotations of the reader, whose name may be misspelt."""
    ranked = ranking({"a": 0.6}, {})
    standard = dataclasses.replace(ranked.standard, benchmarks={"human": "human benchmark (secnd)"})
    ranked = dataclasses.replace(ranked, standard=standard)
    assert answer(ranked).endswith("; the human benchmark (secnd) has no value on any case.")


FOUR = {"a": 0.5714, "b": 0.57, "c": 0.56, "d": 0.558}
WORSE = {first + second: 0.0098 for first in "abcd" for second in "ef"}


@pytest.mark.parametrize(
    ("ranked", "sentence"),
    [
        (ranking({**FOUR, "e": 0.4, "f": 0.3}, WORSE, shares={"a": 0.25}),
         "The first four cannot be told apart (0.558–0.571; a comes first in 25 % of the resamples); e and f are worse "
         "(p ≤ 0.01); chance is 0.150, and all are better (p ≤ 0.004)."),
        (ranking({"a": 0.6, "b": 0.5}, {"ab": 0.0002}, shares={"a": 1.0}),
         "a comes first with 0.600, in 100 % of the resamples; b is worse (p < 0.001); chance is 0.150, and all are "
         "better (p ≤ 0.004)."),
        (ranking({"a": 0.6, "b": 0.5}, {}, random={"a": 0.2, "b": 0.3}),
         "a and b cannot be told apart (0.500–0.600); chance is 0.150, and none can be told from it."),
        # c differs from b only: neither in the first group nor worse than all of it
        (ranking({"a": 0.6, "b": 0.59, "c": 0.58}, {"bc": 0.01}),
         "The first two cannot be told apart (0.590–0.600); whether c is worse is open; chance is 0.150, and all are "
         "better (p ≤ 0.004)."),
        # b differs from a, but in the other direction on the cases of both
        (ranking({"a": 0.6, "b": 0.59}, {"ab": 0.01}, reverse=("ab",), chance=None),
         "a comes first with 0.600; whether b is worse is open; there is no random baseline to compare with."),
        # lower is better: 0.1 beats chance, 0.3 is worse than it
        (ranking({"a": 0.1, "b": 0.3}, {"ab": 0.01}, higher=False),
         "a comes first with 0.100; b is worse (p ≤ 0.01); chance is 0.150, and a is better (p ≤ 0.004), b is worse "
         "(p ≤ 0.004)."),
        (ranking({"a": 0.6, "b": 0.5, "c": 0.4}, {"bc": NAN}, random={"c": 0.3}),
         "The three cannot be told apart (0.400–0.600); chance is 0.150, and a and b are better (p ≤ 0.004), c cannot "
         "be told from it; 1 of the pairs could not be tested."),
        (ranking({"a": NAN}, {}), "No combination has a value."),
        (ranking({"a": 0.25}, {}, random={"a": NAN}),
         "a reaches 0.250; chance is 0.150, and a cannot be told from it."),
    ],
)  # fmt: skip
def test_the_sentence_says_what_can_be_told_apart(ranked: Ranking, sentence: str) -> None:
    assert answer(ranked) == sentence


def test_the_level_is_that_of_the_run() -> None:
    ranked = ranking({"a": 0.6, "b": 0.5}, {"ab": 0.03})
    assert "b is worse" in answer(ranked)
    assert "cannot be told apart" in answer(dataclasses.replace(ranked, confidence=0.99))


@pytest.mark.parametrize("seed", range(8))
def test_two_share_a_group_if_and_only_if_they_do_not_differ(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    upper = np.triu(rng.random((count, count)) < rng.random(), 1)
    different = upper | upper.T
    sets = cliques(different)
    for first in range(count):
        assert any(first in members for members in sets)
        for second in range(count):
            shared = any(first in members and second in members for members in sets)
            assert shared == (first == second or not different[first, second])
    # None can be left out of, or joined with, another.
    assert not [a for a in sets for b in sets if a is not b and set(a) <= set(b)]


def test_groups_are_letters() -> None:
    assert groups(ranking({**FOUR, "e": 0.4}, WORSE)) == dict.fromkeys("abcd", "a") | {"e": "b"}
    many = {chr(200 + index): 1.0 - index / 100 for index in range(54)}
    letters = groups(ranking(many, {a + b: 0.001 for a, b in combinations(many, 2)}))
    assert list(letters.values())[50:] == ["Y", "Z", "(53)", "(54)"]


def test_the_answer_of_a_run_agrees_with_its_tables(ran: Callable[..., Any], parts: Catalog) -> None:
    folder: Path = ran(explainers=["slope", "noted", {"use": "slope", "factor": -1.0}]).folder
    (ranked,) = rankings(Results(folder, parts))
    letters = groups(ranked)
    rows = read_rows(folder / "comparisons.csv")
    pairs = [row for row in rows if {row["combination_a"], row["combination_b"]} <= set(letters)]
    assert len(pairs) == 3
    for row in pairs:
        shared = set(letters[row["combination_a"]]) & set(letters[row["combination_b"]])
        assert bool(shared) == (row["p_holm"] >= 0.05)
    (chance,) = (entry.value for entry in ranked.entries if entry.baseline)
    assert f"chance is {chance:.3f}" in answer(ranked)
