"""Defines the command ``heatproof new``."""

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
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="The folder in which to create it.")
def new(kind: str, name: str, into: Path) -> None:
    """Start a plugin: a folder with one component of KIND, its pyproject and its conformance test."""
    from .scaffold import scaffold

    folder = scaffold(kind, name, into)
    check = shlex.join([os.path.abspath(sys.argv[0]), "check", name])
    click.echo(f"created {folder}; next:\n{install_command('-e', str(folder.absolute()))}\n{check}")


def install_command(*words: str) -> str:
    """Write the shell command that installs into the environment of this Python, from any folder.

    It calls pip, or uv where the environment has no pip; ``uv run`` sets the variable UV to the path of uv.
    """
    command = [sys.executable, "-m", "pip", "install"]
    if not find_spec("pip"):
        command = [os.environ.get("UV", "uv"), "pip", "install", "--python", sys.executable]
    return shlex.join([*command, *words])
