"""Defines the command ``heatproof new``."""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from heatproof.shell import command

KINDS = ("dataset", "model", "explainer", "metric")
EXAMPLE = {
    "dataset": "{use: phantom, patients: 20, split: test}", "model": "lesionnet", "explainer": "gradient",
    "metric": "ecs",
}  # fmt: skip
"""Kind → the entry of a config beside the new component."""


@click.command(short_help="Start a component: a file, or a package with its tests.")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="The folder in which to create it.")
@click.option("--package", is_flag=True, help="Create a folder that can be installed and published.")
def new(kind: str, name: str, into: Path, package: bool) -> None:
    """Start a component of KIND: a Python file for --plugin, which already passes its checks.

    With --package it becomes a distribution: a folder with its pyproject and its conformance test.
    """
    from .scaffold import component_file, component_name, scaffold

    name = component_name(name)
    if package:
        folder = scaffold(kind, name, into)
        install = install_command("-e", str(folder.absolute()))
        click.echo(f"created {folder}; next:\n{install}\n{command('check', name)}")
        return
    file = component_file(kind, name, into)
    check = command("check", name, "--plugin", file)
    run = command("run", "config.yaml", "--plugin", file)
    click.echo(f"created {file}; next:\n{check}\n\nIn a config.yaml:\n{config(kind, name)}\n\nThen:\n{run}")


def config(kind: str, name: str) -> str:
    """Write a config that uses a component of this name beside others."""
    return "\n".join(f"{other}s: [{entry}]" for other, entry in {**EXAMPLE, kind: name}.items())


def install_command(*words: str) -> str:
    """Write the shell command that installs into the environment of this Python, from any folder.

    It calls pip, or uv where the environment has no pip; ``uv run`` sets the variable UV to the path of uv.
    """
    program = [sys.executable, "-m", "pip", "install"]
    if not find_spec("pip"):
        program = [os.environ.get("UV", "uv"), "pip", "install", "--python", sys.executable]
    return shlex.join([*program, *words])
