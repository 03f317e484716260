"""Windows of measured values."""

import numpy as np

from heatproof.imaging.window import windowed


def test_a_window_fills_16_bits() -> None:
    values = np.array([-2000.0, -1000, -300, 400, 5000])
    np.testing.assert_array_equal(windowed(values, -1000, 400), [0, 0, 32768, 65535, 65535])
