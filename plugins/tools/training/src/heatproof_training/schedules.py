"""Learning rates by epoch, as a factor of the rate of the optimiser."""

from collections.abc import Callable, Mapping
from math import cos, floor, pi
from typing import Annotated, Literal

from pydantic import Field

from heatproof.component import Params
from heatproof.config.entries import Count

Factor = Annotated[float, Field(ge=0, le=1)]


class ScheduleSettings(Params):
    """How the learning rate changes from epoch to epoch; it is a ``factor`` of the rate of the optimiser.

    ``constant``; ``step``: times ``gamma`` every ``period`` epochs; ``cosine``: half a cosine from 1 to ``lowest``
    over all epochs (Loshchilov and Hutter 2017); ``triangular2``: up in ``period`` epochs from ``lowest`` to 1 and
    down again, with half the height in each further cycle (Smith 2017). ``warmup``: the first epochs, in which the
    rate rises linearly.
    """

    use: Literal["constant", "step", "cosine", "triangular2"] = "constant"
    period: Count = 10
    gamma: Factor = 0.1
    lowest: Factor = 0.0
    warmup: Annotated[int, Field(ge=0, le=100_000)] = 0

    def factor(self, epoch: int, epochs: int) -> float:
        """Return the factor of the learning rate in an epoch, counted from 0.

        >>> [ScheduleSettings(use="step", period=2).factor(epoch, 5) for epoch in (0, 1, 2)]
        [1.0, 1.0, 0.1]
        """
        return FACTORS[self.use](self, epoch, epochs) * min(1.0, (epoch + 1) / (self.warmup + 1))


def _cosine(settings: ScheduleSettings, epoch: int, epochs: int) -> float:
    return settings.lowest + (1 - settings.lowest) * (1 + cos(pi * epoch / max(1, epochs - 1))) / 2


def _triangular2(settings: ScheduleSettings, epoch: int, epochs: int) -> float:
    cycle = floor(1 + epoch / (2 * settings.period))
    distance = abs(epoch / settings.period - 2 * cycle + 1)
    height: float = 0.5 ** (cycle - 1)
    return settings.lowest + (1 - settings.lowest) * max(0.0, 1 - distance) * height


FACTORS: Mapping[str, Callable[[ScheduleSettings, int, int], float]] = {
    "constant": lambda settings, epoch, epochs: 1.0,
    "step": lambda settings, epoch, epochs: float(settings.gamma ** (epoch // settings.period)),
    "cosine": _cosine,
    "triangular2": _triangular2,
}
