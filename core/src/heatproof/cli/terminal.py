"""The group of commands, its messages for errors, and helpers for commands of plugins."""

import errno
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..errors import HeatproofError

if TYPE_CHECKING:
    from rich.console import Console

    from ..registry.catalog import Catalog

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C stopped, as in shells."""


class Cli(click.Group):
    """The group of commands. An error is one sentence and a non-zero exit; only ``--debug`` shows the traceback."""

    plugins_loaded = False

    def load_plugins(self) -> None:
        """Add the commands of plugins, once per process."""
        if not self.plugins_loaded:
            catalog().call("heatproof_commands", cli=self)
            self.plugins_loaded = True

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command of the core or of a plugin; None for an unknown name."""
        if name not in self.commands:
            self.load_plugins()
        return super().get_command(context, name)

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of all commands, including those of plugins."""
        self.load_plugins()
        return super().list_commands(context)

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        """Resolve a command by name; the error for an unknown name says which package brings further commands."""
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            hint = "Further commands come with plugins, such as those of heatproof[standard]."
            raise click.UsageError(f"{error.format_message()} {hint}", context) from None

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Accept ``--debug`` before and after the command."""
        return super().parse_args(context, sorted(args, key=lambda argument: argument != "--debug"))

    def invoke(self, context: click.Context) -> Any:
        """Run the command and turn its errors into messages."""
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
    """Return the message of an error; if heatproof did not raise it, with its type, file and line."""
    if isinstance(error, HeatproofError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    advice = "add --debug for the traceback, and report it to the authors of that file."
    return f"unforeseen {type(error).__name__} in {frame.filename}:{frame.lineno}: {text}; {advice}"


def catalog() -> "Catalog":
    """Return the catalog of the installed plugins."""
    from ..registry.catalog import default

    return default()


@contextmanager
def broken_named() -> Iterator[None]:
    """Name the plugins set apart on stderr when the block has ended, also after an error."""
    try:
        yield
    finally:
        for plugin in catalog().apart:
            click.echo(f"broken plugin, set apart: {plugin}", err=True)


def _closed() -> None:
    """Let click end the command quietly; rich would call ``sys.exit``, which passes for an exit of a plugin."""
    raise BrokenPipeError(errno.EPIPE, "the reader of the output has closed it")


def console(stderr: bool = False) -> "Console":
    """Return a console for results or, on stderr, for progress; outside a terminal, lines are not wrapped."""
    from rich.console import Console

    target = Console(stderr=stderr, highlight=False)
    target.on_broken_pipe = _closed  # type: ignore[method-assign]
    if not target.file.isatty():
        target.width = 400
    return target


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show ``text``, such as ``planning``, while the block runs; outside a terminal only after 30 seconds."""
    from .progress import Live

    with Live(console(stderr=True), transient=True) as live:
        live.step(text)
        yield


def setting(text: str) -> Callable[..., Any]:
    """Return a decorator for the option ``--set NAME=VALUE``, argument ``overrides``; ``text`` is its help."""
    return click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", help=text)
