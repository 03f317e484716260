"""Digests of the versions of installed distributions."""

from types import SimpleNamespace
from typing import Any

import PIL
import pytest

from heatproof import digests
from heatproof.digests import digest, versions_digest


def test_the_digest_contains_the_versions_of_the_dependencies(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["pillow>=11,<14", "ruamel.yaml[jinja2] (>=0.18)", 'absent ; extra == "more"']
    installed: dict[str, Any] = {
        "mine": [SimpleNamespace(requires=requires, version="9")],
        "bare": [SimpleNamespace(requires=None, version="1")],
        "pillow": [SimpleNamespace(version="13.0.0")],
        "ruamel.yaml": [SimpleNamespace(version="0.19")],
    }
    monkeypatch.setattr(digests, "distributions", lambda name: installed.get(name, []))
    assert versions_digest("mine") == digest([["pillow", "13.0.0"], ["ruamel.yaml", "0.19"]])
    assert versions_digest("bare") == versions_digest("nobody") == digest([])


def test_another_pillow_is_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions_digest("heatproof")
    distributions = digests.distributions

    def upgraded(name: str) -> list[Any]:
        if name == "pillow":
            return [SimpleNamespace(version=f"{PIL.__version__}.post1")]
        return [*distributions(name=name)]

    monkeypatch.setattr(digests, "distributions", upgraded)
    assert versions_digest("heatproof") != before
