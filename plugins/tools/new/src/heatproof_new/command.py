"""The command ``heatproof new``."""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import click

KINDS = ("dataset", "model", "explainer", "metric")


@click.command(short_help="Start a plugin: a folder with one component and its tests.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="The folder to make it in.")
def new(kind: str, name: str, into: Path) -> None:
    """Start a plugin: a folder with one component of KIND, its pyproject and its conformance test."""
    from .scaffold import scaffold

    folder = scaffold(kind, name, into)
    check = shlex.join([os.path.abspath(sys.argv[0]), "check", name])
    click.echo(f"made {folder}; next:\n{install_command('-e', str(folder.absolute()))}\n{check}")


def install_command(*words: str) -> str:
    """The command that installs into the environment of this Python, from whichever folder and shell.

    Where that has no pip it is uv's; ``uv run`` tells its own path.
    """
    pip = [sys.executable, "-m", "pip", "install"]
    uv = [os.environ.get("UV", "uv"), "pip", "install", "--python", sys.executable]
    return shlex.join([*(pip if find_spec("pip") else uv), *words])
