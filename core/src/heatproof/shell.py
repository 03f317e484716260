"""Shell: commands of heatproof that a user can type where this process was started, for messages."""

import os
import shlex
import sys
from pathlib import Path
from shutil import which

NAME = "heatproof"
PLUGINS = "HEATPROOF_PLUGINS"
"""The environment variable with the files of ``--plugin``, separated as the folders in PATH are."""
UV_RUN = "UV_RUN_RECURSION_DEPTH"
"""The environment variable that ``uv run`` sets for the program that it starts."""


def command(*words: str | Path) -> str:
    """Return the command ``heatproof WORD …`` for a message, quoted, with the files of plugins that are in use.

    It begins with ``uv run`` in a process that was started so, and with the path of the script where the shell has no
    ``heatproof``.
    """
    files: list[str] = []
    if words[:1] != ("new",):  # which starts a file
        files = [part for path in plugin_files() for part in ("--plugin", _short(path))]
    return shlex.join([*_program(), *map(str, words), *files])


def plugin_files() -> list[Path]:
    """Return the files that ``HEATPROOF_PLUGINS`` names."""
    return [Path(part).expanduser() for part in os.environ.get(PLUGINS, "").split(os.pathsep) if part]


def _program() -> list[str]:
    if UV_RUN in os.environ:
        uv = "uv"
        if not which(uv):
            uv = os.environ.get("UV", uv)
        return [uv, "run", NAME]
    script = Path(sys.argv[0])
    on_path = which(NAME)
    if script.stem != NAME or (on_path and Path(on_path).resolve() == script.resolve()):
        return [NAME]
    return [str(script)]


def _short(path: Path) -> str:
    """A path from the working folder where it is below it, else in full."""
    absolute = Path(os.path.abspath(path))
    if absolute.is_relative_to(Path.cwd()):
        return str(absolute.relative_to(Path.cwd()))
    return str(absolute)
