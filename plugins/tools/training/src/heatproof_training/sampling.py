"""The order in which an epoch draws its samples: it depends on the seed, the epoch and the ids only."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from heatproof.seeding import key

from .cohort import Member


@dataclass(frozen=True)
class Draw:
    """A sample of an epoch, and how often the epoch has drawn it before."""

    id: str
    repetition: int = 0


def order(members: Sequence[Member], seed: int, epoch: int, balanced: bool) -> list[Draw]:
    """Return the draws of an epoch: every sample once, or as many draws in which every class is equally often.

    The classes then differ by one draw at most; a class with fewer samples repeats them, each equally often up to one.
    """
    draws = [Draw(member.id) for member in members]
    if balanced:
        draws = _balanced(members, seed, epoch)
    return sorted(draws, key=lambda draw: key("order", seed, epoch, draw.id, draw.repetition))


def _balanced(members: Sequence[Member], seed: int, epoch: int) -> list[Draw]:
    classes: dict[int, list[str]] = defaultdict(list)
    for member in members:
        classes[-1 if member.label is None else member.label].append(member.id)
    draws: list[Draw] = []
    for position, label in enumerate(sorted(classes)):
        ids = sorted(classes[label], key=lambda id: key("balance", seed, epoch, id))
        count = (len(members) * (position + 1)) // len(classes) - (len(members) * position) // len(classes)
        draws += [Draw(ids[index % len(ids)], index // len(ids)) for index in range(count)]
    return draws


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
