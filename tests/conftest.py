"""Fixtures for the tests of the engine: a catalog of small components, runs, and records of calls."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOGETHER = Path(__file__).parent / "together"
sys.path.insert(0, str(TOGETHER))  # for worker processes, too
FIRST = (
    "baseline",
    "cam",
    "costs",
    "data",
    "ecs",
    "gradient",
    "idrid",
    "kaggle_dr",
    "new",
    "phantom",
    "report",
    "resnet50",
)
Calls = Callable[..., list[list[Any]]]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start background jobs with SIGINT ignored, and programs that a test starts would inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def parts() -> Any:
    """Return the catalog of the components in ``heatproof_parts``."""
    from heatproof.registry.catalog import Catalog
    from heatproof.registry.discovery import Announcement

    return Catalog([
        Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0"),
    ])  # fmt: skip


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Return a function that reads the recorded calls of these kinds, and clears the record."""
    path = tmp_path / "calls.jsonl"
    monkeypatch.setenv("HEATPROOF_PARTS_NOTES", str(path))

    def read(*kinds: str) -> list[list[Any]]:
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        path.unlink()
        return [call for call in map(json.loads, lines) if call[0] in kinds]

    return read


@pytest.fixture
def configured(parts: Any, tmp_path: Path) -> Callable[..., Any]:
    """Return a function for the config of a small run: eight test images of four patients, in chunks of four."""
    from heatproof.config.settings import from_plain

    def make(**settings: Any) -> Any:
        usual = {
            "output": str(tmp_path / "run"), "datasets": [{"use": "images", "split": "test", "count": 16}],
            "models": ["regions"], "explainers": ["slope"], "metrics": ["mass"], "chunk": 4, "rows": 2, "threads": 1,
            "device": "cpu", "cache": False, "statistics": {"resamples": 50, "permutations": 50},
        }  # fmt: skip
        return from_plain({**usual, **settings}, parts)

    return make


@pytest.fixture
def ran(parts: Any, configured: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs such a config."""
    from heatproof.run.runner import run

    def make(shard: tuple[int, int] = (1, 1), retry: bool = False, **settings: Any) -> Any:
        return run(configured(**settings), parts, shard=shard, retry=retry)

    return make


@pytest.fixture(scope="session")
def installed(parts: Any) -> Any:
    """Return the catalog of the plugins in ``FIRST`` and of ``heatproof_parts``."""
    from heatproof.registry.catalog import Catalog
    from heatproof.registry.discovery import Announcement, discover

    announcements, _ = discover()
    first = [plugin for plugin in announcements if plugin.target.removeprefix("heatproof_") in FIRST]
    return Catalog([*first, Announcement("parts", "heatproof_parts", "heatproof-parts", "1.0")])


@pytest.fixture
def command(installed: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs ``heatproof WORDS`` in this process, as outside a terminal."""
    from click.testing import CliRunner

    from heatproof.cli.commands import cli

    monkeypatch.setattr("heatproof.registry.catalog.default", lambda: installed)
    return lambda *words: CliRunner().invoke(cli, [str(word) for word in words], prog_name="heatproof")
