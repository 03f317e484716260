"""Settings of components in arguments of the command line."""

import pytest

from heatproof.config.components import settings_of
from heatproof.errors import ConfigError


def test_settings() -> None:
    assert settings_of(["a=1", "b.c=[x, 0.5]", "d=text", "e="]) == {
        "a": 1,
        "b": {"c": ["x", 0.5]},
        "d": "text",
        "e": None,
    }
    with pytest.raises(ConfigError) as caught:
        settings_of(["a", "=1", "b=[1"])
    assert len(str(caught.value).splitlines()) == 3
