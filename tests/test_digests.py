"""Digests of what lies outside: the versions of installed distributions."""

from types import SimpleNamespace
from typing import Any

import PIL
import pytest

from heatproof import digests
from heatproof.digests import digest, versions_digest


def test_versions_are_those_of_what_a_distribution_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["pillow>=11,<14", "ruamel.yaml[jinja2] (>=0.18)", 'absent ; extra == "more"']
    found: dict[str, Any] = {
        "mine": [SimpleNamespace(requires=asked, version="9")], "bare": [SimpleNamespace(requires=None, version="1")],
        "pillow": [SimpleNamespace(version="13.0.0")], "ruamel.yaml": [SimpleNamespace(version="0.19")],
    }  # fmt: skip
    monkeypatch.setattr(digests, "distributions", lambda name: found.get(name, []))
    assert versions_digest("mine") == digest([["pillow", "13.0.0"], ["ruamel.yaml", "0.19"]])
    assert versions_digest("bare") == versions_digest("nobody") == digest([])


def test_another_pillow_is_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before, installed = versions_digest("heatproof"), digests.distributions

    def upgraded(name: str) -> list[Any]:
        found = [*installed(name=name)]
        return [SimpleNamespace(version=f"{PIL.__version__}.post1")] if name == "pillow" else found

    monkeypatch.setattr(digests, "distributions", upgraded)
    assert versions_digest("heatproof") != before
