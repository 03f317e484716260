"""The group of commands, its messages for errors, and helpers for commands of plugins."""

import errno
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import HeatproofError
from ..shell import PLUGINS

if TYPE_CHECKING:
    from rich.console import Console

    from ..registry.catalog import Catalog

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C stopped, as in shells."""


class Cli(click.Group):
    """The group of commands. An error is one sentence and a non-zero exit; only ``--debug`` shows the traceback."""

    _loaded: "Catalog | None" = None
    _of_plugins: frozenset[str] = frozenset()

    def load_plugins(self) -> None:
        """Add the commands of the catalog's plugins in place of those of another catalog, such as without a file."""
        current = catalog()
        if current is not self._loaded:
            for name in self._of_plugins:
                del self.commands[name]
            core = frozenset(self.commands)
            current.call("heatproof_commands", cli=self)
            self._of_plugins = frozenset(self.commands) - core
            self._loaded = current

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command of the core or of a plugin; None for an unknown name."""
        if name not in self.commands or name in self._of_plugins:
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
        """Accept the options of the group before and after the command."""
        try:
            return super().parse_args(context, _group_options_first(args))
        except HeatproofError as error:  # of a file of --plugin, whose commands the help lists
            if "--debug" in args:
                raise
            raise click.ClickException(_sentence(error)) from error

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command line; ``HEATPROOF_PLUGINS`` has its earlier value afterwards."""
        before = os.environ.get(PLUGINS)
        try:
            return super().main(*arguments, **settings)
        finally:
            os.environ.pop(PLUGINS, None)
            if before is not None:
                os.environ[PLUGINS] = before

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


def _group_options_first(args: Sequence[str]) -> list[str]:
    """Move ``--debug`` and ``--plugin FILE`` before the command; what follows ``--`` stays."""
    end = [*args, "--"].index("--")
    first: list[str] = []
    others: list[str] = []
    words = iter(args[:end])
    for word in words:
        if word == "--plugin":
            value = next(words, None)
            if value is None:
                raise click.BadOptionUsage(word, f"Option '{word}' requires a file.")
            first += [word, value]
        elif word == "--debug" or word.startswith("--plugin="):
            first.append(word)
        else:
            others.append(word)
    return [*first, *others, *args[end:]]


def add_plugins(context: click.Context, option: click.Parameter, paths: tuple[Path, ...]) -> None:
    """Name the files of ``--plugin`` in ``HEATPROOF_PLUGINS``, which worker processes inherit.

    Raises ``PluginError`` for a file at fault.
    """
    if paths:
        files = [os.path.abspath(path.expanduser()) for path in paths]
        os.environ[PLUGINS] = os.pathsep.join(filter(None, [os.environ.get(PLUGINS), *files]))
        catalog()


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
