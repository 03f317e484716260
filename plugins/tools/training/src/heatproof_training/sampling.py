"""The order in which an epoch draws its samples: it depends on the seed, the epoch and the ids only."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from heatproof.seeding import key

from .cohort import Member
from .patches import Start


@dataclass(frozen=True)
class Draw:
    """A sample of an epoch, how often the epoch has drawn it before, and the start of its patch where that is fixed."""

    id: str
    repetition: int = 0
    start: Start | None = None


def order(members: Sequence[Member], seed: int, epoch: int, balanced: bool, times: int = 1) -> list[Draw]:
    """Return the draws of an epoch: every sample some times, or as many draws in which every class is equally often.

    The classes then differ by one draw at most; a class with fewer samples repeats them, each equally often up to one.
    """
    draws = [Draw(member.id, repetition) for member in members for repetition in range(times)]
    if balanced:
        draws = _balanced(members, seed, epoch, times * len(members))
    return sorted(draws, key=lambda draw: key("order", seed, epoch, draw.id, draw.repetition))


def _balanced(members: Sequence[Member], seed: int, epoch: int, total: int) -> list[Draw]:
    classes: dict[int, list[str]] = defaultdict(list)
    for member in members:
        classes[-1 if member.label is None else member.label].append(member.id)
    draws: list[Draw] = []
    for position, label in enumerate(sorted(classes)):
        ids = sorted(classes[label], key=lambda id: key("balance", seed, epoch, id))
        count = (total * (position + 1)) // len(classes) - (total * position) // len(classes)
        draws += [Draw(ids[index % len(ids)], index // len(ids)) for index in range(count)]
    return draws


def plain(members: Sequence[Member]) -> list[Draw]:
    """Return the draws of an evaluation: every sample once, or each of its patches."""
    return [Draw(member.id, 0, start) for member in members for start in member.patches or (None,)]


def batches(draws: Sequence[Draw], size: int) -> list[list[Draw]]:
    """Divide draws into batches; a last one of a single sample joins the batch before: BatchNorm needs two.

    >>> [len(batch) for batch in batches([Draw(str(index)) for index in range(7)], 3)]
    [3, 4]
    """
    parts = [list(draws[start : start + size]) for start in range(0, len(draws), size)]
    if len(parts) > 1 and len(parts[-1]) == 1 < size:
        last = parts.pop()
        parts[-1] += last
    return parts
