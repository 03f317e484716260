"""Where commands meet the user: the group that runs them, what it says of an error, and where they print."""

import sys
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from ..errors import HeatproofError

if TYPE_CHECKING:
    from rich.console import Console

    from ..registry.catalog import Catalog

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C stopped, as shells have it."""


class Cli(click.Group):
    """The group of commands. A mistake is one sentence and a non-zero exit; only ``--debug`` shows the traceback."""

    @cached_property
    def extended(self) -> bool:
        """Whether the plugins have added their commands; asked for only when no own command has the name."""
        catalog().call("heatproof_commands", cli=self)
        return True

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """A command of the core, or of a plugin."""
        found = super().get_command(context, name)
        return super().get_command(context, name) if found is None and self.extended else found

    def list_commands(self, context: click.Context) -> list[str]:
        """All commands, those of plugins included."""
        return super().list_commands(context) if self.extended else []

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        """A command by name, or an error that says where further ones come from."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            hint = "Further commands come with plugins, such as those of heatproof[standard]."
            raise click.UsageError(f"{error.format_message()} {hint}", context) from None

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Take ``--debug`` before and after the command."""
        return super().parse_args(context, sorted(args, key=lambda argument: argument != "--debug"))

    def invoke(self, context: click.Context) -> Any:
        """Run the command, and say what went wrong."""
        try:
            return super().invoke(context)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            if context.params["debug"]:
                raise
            raise click.ClickException(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    """What is wrong; an error that heatproof did not foresee is told with its kind and place."""
    if isinstance(error, HeatproofError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    return (
        f"unforeseen {type(error).__name__} in {place.filename}:{place.lineno}: {text}; add --debug for the traceback, "
        "and report it to the authors of that file."
    )


def catalog() -> "Catalog":
    """The plugins that are installed."""
    from ..registry.catalog import default

    return default()


def console(stderr: bool = False) -> "Console":
    """Where results are printed, or progress; outside a terminal no line is wrapped, so that it can be searched."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=None if terminal else 400)


def setting(text: str) -> Callable[..., Any]:
    """The option ``--set NAME=VALUE`` of a command as texts in its argument ``overrides``; ``text`` is the help."""
    return click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help=text)
