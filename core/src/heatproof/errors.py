"""The errors a user may meet; each message says what was seen, what is allowed and what to do."""

import os
import shlex
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class HeatproofError(Exception):
    """Any mistake or mishap that heatproof can explain in a sentence; the command line prints no traceback of it."""


class ConfigError(HeatproofError):
    """One or more mistakes of a config, each with file, line and YAML path."""


class PluginError(HeatproofError):
    """A plugin that is unknown, ambiguous, broken or of the wrong kind."""


class DataError(HeatproofError):
    """A dataset folder, table, picture or annotation that cannot be used."""


class ModelError(HeatproofError):
    """A checkpoint, layer, target or network that cannot be used."""


class StoreError(HeatproofError):
    """A run's folder that cannot be read or written."""


class Undefined(Exception):
    """Raised where a metric or an explainer has no value for a case: it is ``excluded`` with this reason.

    In a batch it is raised for the first such sample; the core splits the batch until that sample is alone.
    """


def near(name: str, allowed: Iterable[str]) -> str:
    """A sentence that suggests near names, or lists the allowed ones: ``did you mean 'random'?``."""
    names = sorted(allowed)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    return "allowed: " + (", ".join(names) if names else "none")


def install_command(*words: str) -> str:
    """The command that installs into the environment of this Python, from whichever folder and shell.

    Where that has no pip it is uv's; ``uv run`` tells its own path.
    """
    pip = [sys.executable, "-m", "pip", "install"]
    uv = [os.environ.get("UV", "uv"), "pip", "install", "--python", sys.executable]
    return shlex.join([*(pip if find_spec("pip") else uv), *words])
