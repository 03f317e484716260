"""The answer of a ranking in one sentence: which combinations can be told apart, and which from chance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from string import ascii_letters

import numpy as np

from ..records import Array
from .ranking import RankedCombination, Ranking
from .scores import name_of

WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NAMES = 4
"""How many names the sentence lists; more combinations are counted."""


@dataclass(frozen=True)
class Differences:
    """The corrected p-values (n, n) of all pairs of combinations with a value, best first, NaN where untested.

    ``better`` (n, n) tells whether the first of a pair is better than the second on the cases of both. Pairs below
    ``alpha`` differ.
    """

    entries: tuple[RankedCombination, ...]
    p: Array
    better: Array
    alpha: float

    @property
    def different(self) -> Array:
        """Whether each pair differs (n, n)."""
        return np.asarray(self.p < self.alpha)

    @property
    def first(self) -> int:
        """How many combinations from the first one on cannot be told apart from each other."""
        apart = self.different
        count = min(1, len(self.entries))
        while count < len(self.entries) and not apart[count, :count].any():
            count += 1
        return count

    @property
    def untested(self) -> int:
        """The number of pairs without a p-value."""
        return int(np.isnan(self.p[np.triu_indices(len(self.p), 1)]).sum())


def differences(ranking: Ranking) -> Differences:
    """Collect the differences between the combinations of a ranking, without the random baselines."""
    entries = tuple(entry for entry in ranking.entries if not entry.baseline and entry.value == entry.value)
    position = {entry.row["combination"]: index for index, entry in enumerate(entries)}
    p = np.full((len(entries), len(entries)), np.nan)
    better = np.zeros(p.shape, dtype=bool)
    for row in ranking.comparisons:
        first = position.get(row["combination_a"])
        second = position.get(row["combination_b"])
        if first is not None and second is not None:
            p[first, second] = p[second, first] = row[f"p_{ranking.correction}"]
            favours_first = (row["difference"] > 0) == ranking.standard.higher_is_better
            better[first, second] = favours_first
            better[second, first] = not favours_first
    return Differences(entries, p, better, ranking.alpha)


def groups(ranking: Ranking) -> dict[str, str]:
    """Combination → the letters of its groups: two share a letter if, and only if, their difference is not significant.

    Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", Journal of Computational and
    Graphical Statistics 13 (2004), defines the display.
    """
    compared = differences(ranking)
    letters = [""] * len(compared.entries)
    for index, members in enumerate(cliques(compared.different)):
        for member in members:
            letters[member] += _letter(index)
    return {entry.row["combination"]: text for entry, text in zip(compared.entries, letters)}


def _letter(index: int) -> str:
    if index < len(ascii_letters):
        return ascii_letters[index]
    return f"({index + 1})"


def cliques(different: Array) -> list[list[int]]:
    """Groups of indices without a different pair (n, n): every pair that does not differ shares a group."""
    count = len(different)
    settled = np.array(different, dtype=bool)
    sets = []
    for first in range(count):
        # Last the index itself, which has a group of its own if it differs from all others.
        for second in [*range(first + 1, count), first]:
            if settled[first, second]:
                continue
            members = [first]
            for index in [second, *range(count)]:
                if index not in members and not different[index, members].any():
                    members.append(index)
            settled[np.ix_(members, members)] = True
            sets.append(sorted(members))
    return sets


def answer(ranking: Ranking) -> str:
    """Say in one sentence what can be told apart, how often the first is first, and how all compare with chance.

    The values of benchmarks follow.
    Tests are those of ``comparisons.csv`` and ``summary.csv`` after correction, at the level 1 - ``confidence``.
    """
    compared = differences(ranking)
    clauses = [_leaders(ranking, compared), *_followers(ranking, compared)]
    if compared.entries:
        clauses.append(_chance(ranking, compared))
    clauses += [f"the {benchmark.name} reaches {number(benchmark.value)}" for benchmark in ranking.benchmarks]
    clauses += [f"the {name} has no value on any case" for name in ranking.unvalued]
    if compared.untested:
        clauses.append(f"{compared.untested} of the pairs could not be tested")
    return f"{'; '.join(clauses)}."


def _leaders(ranking: Ranking, compared: Differences) -> str:
    """The first combinations that cannot be told apart, with their values."""
    count = compared.first
    entries = compared.entries
    if not entries:
        return "No combination has a value"
    name = _names(ranking, entries[:1])
    value = number(entries[0].value)
    if len(entries) == 1:
        return f"{name} reaches {value}"
    often = _often(ranking, entries[0])
    if count == 1:
        return f"{name} comes first with {value}{often and f', {often}'}"
    subject = f"The first {_count(count)}"
    if count == len(entries):
        subject = f"The {_count(count)}"
    if count == len(entries) == 2:
        subject = _names(ranking, entries)
    values = _span([entry.value for entry in entries[:count]])
    remark = often and f"; {name} comes first {often}"
    return f"{subject} cannot be told apart ({values}{remark})"


def _often(ranking: Ranking, entry: RankedCombination) -> str:
    """How often a combination ranks first; empty where that is unknown."""
    for row in ranking.ranks:
        if row["combination"] == entry.row["combination"] and row["best_share"] == row["best_share"]:
            return f"in {100 * row['best_share']:.0f} % of the resamples"
    return ""


def _followers(ranking: Ranking, compared: Differences) -> Iterable[str]:
    """What follows the first group: the combinations worse than all of it, and those of which that is open."""
    count = compared.first
    certain = np.all((compared.different & compared.better)[:count], axis=0).tolist()
    worse = [index for index in range(count, len(certain)) if certain[index]]
    unclear = [index for index in range(count, len(certain)) if not certain[index]]
    if worse:
        subject = _subject(ranking, [compared.entries[index] for index in worse])
        if not unclear and len(worse) > NAMES:
            subject = "the others are"
        yield f"{subject} worse ({at_most(compared.p[:count, worse].max())})"
    if unclear:
        yield f"whether {_subject(ranking, [compared.entries[index] for index in unclear])} worse is open"


def _chance(ranking: Ranking, compared: Differences) -> str:
    """The value of the random baseline, and which combinations differ from it."""
    values = [entry.value for entry in ranking.entries if entry.baseline and entry.value == entry.value]
    entries = compared.entries
    column = f"p_random_{ranking.correction}"
    certain = [entry for entry in entries if entry.row[column] < compared.alpha]
    better = [entry for entry in certain if _beats_chance(ranking, entry)]
    worse = [entry for entry in certain if not _beats_chance(ranking, entry)]
    if not values:
        return "there is no random baseline to compare with"
    clauses = []
    for members, word in ((better, "better"), (worse, "worse")):
        if members:
            subject = _subject(ranking, members)
            if 1 < len(members) == len(entries):
                subject = "all are"
            clauses.append(f"{subject} {word} ({at_most(max(entry.row[column] for entry in members))})")
    rest = [entry for entry in entries if not entry.row[column] < compared.alpha]
    if rest:
        subject = _subject(ranking, rest).removesuffix(" is").removesuffix(" are")
        if not certain and len(rest) > 1:
            subject = "none"
        clauses.append(f"{subject} {'can' if subject == 'none' else 'cannot'} be told from it")
    return f"chance is {_span(values)}, and {', '.join(clauses)}"


def _beats_chance(ranking: Ranking, entry: RankedCombination) -> bool:
    """Whether a combination is better than chance on the cases of both."""
    return bool((entry.row["difference_to_random"] > 0) == ranking.standard.higher_is_better)


def _subject(ranking: Ranking, entries: Sequence[RankedCombination]) -> str:
    """The subject of a clause with its verb: names, or a number where they are many."""
    if len(entries) == 1:
        return f"{_names(ranking, entries)} is"
    if len(entries) <= NAMES:
        return f"{_names(ranking, entries)} are"
    return f"{_count(len(entries))} are"


def _names(ranking: Ranking, entries: Sequence[RankedCombination]) -> str:
    """The names, without the model if all combinations have the same one."""
    names = [entry.name for entry in entries]
    if len({entry.row["model"] for entry in ranking.entries if not entry.baseline}) == 1:
        names = [name_of({**entry.row, "model": ""}) or entry.name for entry in entries]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _count(count: int) -> str:
    return WORDS[count] if count < len(WORDS) else str(count)


def _span(values: Sequence[float]) -> str:
    """The smallest and the largest value, or both as one number if they read the same."""
    ends = dict.fromkeys(number(value) for value in (min(values), max(values)))
    dash = "–"
    if min(values) < 0:
        dash = " to "
    return dash.join(ends)


def number(value: float | None) -> str:
    """Format a number with three decimals; a dash stands for a missing number.

    >>> number(0.12345), number(-1.0), number(float("nan"))
    ('0.123', '−1.000', '–')
    """
    if value is None or value != value:
        return "–"
    return f"{value:.3f}".replace("-", "−")


def at_most(p: float) -> str:
    """Write a bound of p-values, rounded up.

    >>> at_most(0.0099), at_most(0.0421), at_most(0.0004)
    ('p ≤ 0.01', 'p ≤ 0.043', 'p < 0.001')
    """
    if p < 0.001:
        return "p < 0.001"
    return f"p ≤ {ceil(round(1000 * float(p), 6)) / 1000:g}"
