"""Errors for users; each message says what was seen, what is allowed and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class HeatproofError(Exception):
    """Base of all errors that heatproof explains in a sentence; the command line prints no traceback."""


class ConfigError(HeatproofError):
    """One or more mistakes in a config, each with file, line and YAML path."""


class PluginError(HeatproofError):
    """A plugin that is unknown, ambiguous, broken or of the wrong kind."""


class Interference(PluginError):
    """A plugin changed something that others use; what it returned, and what was computed meanwhile, is not trusted."""


class DataError(HeatproofError):
    """A dataset folder, table, image or annotation that cannot be used."""


class ModelError(HeatproofError):
    """A checkpoint, layer, target or network that cannot be used."""


class StoreError(HeatproofError):
    """A run's folder that cannot be read or written."""


class Undefined(Exception):
    """Raised by a metric or an explainer that has no value for a case: the case is ``excluded`` with this reason.

    In a batch, raise it for the first such sample; the core splits the batch until this sample is alone.
    """


MOST = 20  # names that a message lists


def near(name: str, allowed: Iterable[str]) -> str:
    """Suggest similar names (``did you mean 'random'?``), or list the allowed ones."""
    names = sorted(allowed)
    close = get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    listed = ", ".join(names[:MOST]) or "none"
    if len(names) > MOST:
        listed += f" and {len(names) - MOST} more"
    return f"allowed: {listed}"
