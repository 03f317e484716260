import pytest

from heatproof_training.schedules import ScheduleSettings


def test_triangular2_of_the_gaze_paper() -> None:
    """The factor runs from the rate itself to 1, so the first rate is the square of the rate of the optimiser."""
    rate = 0.0090552
    schedule = ScheduleSettings(use="triangular2", period=2, lowest=rate)
    rates = [rate * schedule.factor(epoch, 35) for epoch in range(9)]
    expected = [8.2e-5, 4.569e-3, 9.055e-3, 4.569e-3, 8.2e-5, 2.325e-3, 4.569e-3, 2.325e-3, 8.2e-5]
    assert rates == pytest.approx(expected, rel=1e-3)


def test_cosine_step_and_warmup() -> None:
    cosine = ScheduleSettings(use="cosine", lowest=0.1)
    assert [cosine.factor(epoch, 5) for epoch in (0, 2, 4)] == pytest.approx([1, 0.55, 0.1])
    step = ScheduleSettings(use="step", period=3, gamma=0.5)
    assert [step.factor(epoch, 9) for epoch in (2, 3, 8)] == pytest.approx([1, 0.5, 0.25])
    warm = ScheduleSettings(warmup=3)
    assert [warm.factor(epoch, 9) for epoch in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
