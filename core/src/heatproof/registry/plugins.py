"""The plugins of a process: import, exclusion of those at fault, and calls of their hooks one by one."""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from pkgutil import resolve_name
from typing import Any

import pluggy

from .. import hooks
from ..containment import no_exit
from ..errors import HeatproofError, PluginError, near
from ..limits import silent_stdout, time_limit
from .discovery import Announcement, Broken

log = logging.getLogger("heatproof")
NAME = re.compile(r"[\w-]+")
TARGET = re.compile(r"[\w.]+:[\w.]+")
LIMIT = "HEATPROOF_IMPORT_LIMIT"
"""The environment variable with the seconds after which the import of a plugin is given up."""


@dataclass(eq=False)
class Plugin:
    """A plugin and, once imported, its module (or the object that its entry point names)."""

    announcement: Announcement
    module: Any = None

    def __str__(self) -> str:
        return f"{self.announcement.distribution} {self.announcement.version}"


class Plugins:
    """The plugins that work, and the broken ones; a fault of one does not affect the others.

    Each stage covers all plugins before the next one begins: their order does not matter. By hand, since pluggy's own
    loader aborts at the first import that fails, and silently loses one of two entry points with equal names.
    """

    def __init__(self, announcements: Sequence[Announcement], broken: Sequence[Broken] = ()):
        self.broken = list(broken)
        self.working = [Plugin(announcement) for announcement in announcements]
        self._manager = pluggy.PluginManager("heatproof")
        self._manager.add_hookspecs(hooks)
        self.kinds = dict(hooks.KINDS)
        for stage in (self._import, self._specify, self._register, self._check, self._add_kinds):
            self.for_each(stage)

    def for_each(self, act: Callable[[Plugin], None]) -> None:
        """Call ``act`` with every working plugin; set a plugin apart if the call raises, exits or does not end."""
        seconds = import_limit()
        for plugin in list(self.working):
            try:
                with contained(seconds):
                    act(plugin)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.set_apart(plugin, reason(error))

    def set_apart(self, plugin: Plugin, why: str) -> None:
        """Unregister a plugin and list it as broken."""
        self._add_broken(plugin, why)
        self.working.remove(plugin)
        if self._manager.is_registered(plugin.module):
            self._manager.unregister(plugin.module)

    def implementing(self, hook: str) -> list[Plugin]:
        """Return the working plugins that implement a hook, in order: ``tryfirst``, unmarked, ``trylast``."""
        caller = getattr(self._manager.hook, hook, None)
        if caller is None:
            raise PluginError(f"hook {hook!r} does not exist; {near(hook, self._specified())}")
        ranks = {impl.plugin: impl.trylast - impl.tryfirst for impl in caller.get_hookimpls()}
        plugins = [plugin for plugin in self.working if plugin.module in ranks]
        return sorted(plugins, key=lambda plugin: ranks[plugin.module])

    def ask(self, plugin: Plugin, hook: str, **arguments: Any) -> list[Any]:
        """Return the value of one plugin's hook as a list, empty for None; raise ``PluginError`` if the hook raises."""
        others = [module for module in self._manager.get_plugins() if module is not plugin.module]
        try:
            with no_exit():
                return list(self._manager.subset_hook_caller(hook, others)(**arguments))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(f"its hook {hook} raised {reason(error)}") from error

    def answers(self, hook: str, **arguments: Any) -> tuple[list[Any], list[str]]:
        """Return the values of all plugins and one sentence per plugin that raised, which is also logged."""
        results: list[Any] = []
        faults: list[str] = []
        for plugin in self.implementing(hook):
            try:
                results += self.ask(plugin, hook, **arguments)
            except PluginError as error:
                self._report(plugin, error)
                faults.append(f"{plugin}: {error}")
        return results, faults

    def first(self, hook: str, **arguments: Any) -> Any:
        """Return the first value that a plugin gives, or None; later plugins are not asked.

        A ``HeatproofError`` of a plugin is about the arguments and passes on. Another error is logged as the plugin's
        own, and the next plugin is asked.
        """
        for plugin in self.implementing(hook):
            try:
                answers = self.ask(plugin, hook, **arguments)
            except PluginError as error:
                if isinstance(error.__cause__, HeatproofError):
                    raise error.__cause__ from None
                self._report(plugin, error)
                continue
            if answers:
                return answers[0]
        return None

    def _report(self, plugin: Plugin, error: PluginError) -> None:
        """Log that a hook of a plugin raised, and list the plugin as broken."""
        log.warning("plugin %s: %s", plugin, error)
        self._add_broken(plugin, str(error))

    def _add_broken(self, plugin: Plugin, why: str) -> None:
        announcement = plugin.announcement
        broken = Broken(announcement.distribution, announcement.version, announcement.entry, why)
        if broken not in self.broken:
            self.broken.append(broken)

    def _import(self, plugin: Plugin) -> None:
        target = plugin.announcement.target
        try:
            plugin.module = plugin.announcement.module or attribute(target)
        except (Exception, SystemExit) as error:
            raise PluginError(f"{target} does not import: {reason(error)}") from error
        owner = next(other for other in self.working if other.module is plugin.module)
        if owner is not plugin:
            raise PluginError(f"its module {target} is already the plugin of {owner}; remove one of the two")

    def _specify(self, plugin: Plugin) -> None:
        if self._manager.parse_hookimpl_opts(plugin.module, "heatproof_hookspecs") is None:
            return
        try:
            specifications = plugin.module.heatproof_hookspecs()
            self._require_plain(specifications)
            self._manager.add_hookspecs(specifications)
        except (Exception, SystemExit) as error:
            raise PluginError(f"its hook heatproof_hookspecs gives no specifications: {reason(error)}") from error

    def _require_plain(self, specifications: Any) -> None:
        """Raise ``PluginError`` for options of a specification that need calls of all plugins at once."""
        for name in dir(specifications):
            options = self._manager.parse_hookspec_opts(specifications, name)
            if options and (options["firstresult"] or options["historic"]):
                fault = f"{name} is firstresult or historic, but plugins are called one by one"
                raise PluginError(f"{fault}; use @hookspec without options")

    def _register(self, plugin: Plugin) -> None:
        self._manager.register(plugin.module, name=f"{plugin.announcement.distribution}/{plugin.announcement.entry}")

    def _check(self, plugin: Plugin) -> None:
        """Raise ``PluginError`` for a plugin without hooks, and for hooks that are unspecified or wrappers."""
        callers = self._manager.get_hookcallers(plugin.module) or []
        if not callers:
            raise PluginError("it implements no hook; mark its functions with @hookimpl from heatproof.hooks")
        for caller in callers:
            implementations = [hook for hook in caller.get_hookimpls() if hook.plugin is plugin.module]
            if not caller.has_spec() and not all(hook.optionalhook for hook in implementations):
                raise PluginError(f"hook {caller.name!r} does not exist; {near(caller.name, self._specified())}")
            if any(hook.wrapper or hook.hookwrapper for hook in implementations):
                fault = f"its hook {caller.name} is a wrapper, but plugins are called one by one"
                raise PluginError(f"{fault}; make it a plain function, with tryfirst or trylast if its order matters")

    def _add_kinds(self, plugin: Plugin) -> None:
        """Add the kinds that a plugin declares; raises ``PluginError`` for a kind that exists already."""
        if plugin not in self.implementing("heatproof_kinds"):
            return
        for kinds in self.ask(plugin, "heatproof_kinds"):
            for kind, (hook, interface) in kinds.items():
                self.implementing(hook)  # an unknown hook is an error
                if kind in self.kinds:
                    raise PluginError(f"its hook heatproof_kinds declares the kind {kind!r}, which exists already")
                self.kinds[kind] = (hook, interface)

    def _specified(self) -> list[str]:
        return [name for name, caller in vars(self._manager.hook).items() if caller.has_spec()]


@contextmanager
def contained(seconds: float) -> Iterator[None]:
    """Bound what the import of a plugin may do: it does not exit, not print to stdout, and ends within a time."""
    message = f"it is not imported and registered within {seconds:g} s; if it only needs longer, raise {LIMIT}"
    with silent_stdout(), no_exit(), time_limit(seconds, message):
        yield


def import_limit() -> float:
    """Return the seconds that the import of a plugin may take; raises ``PluginError`` for a wrong variable."""
    text = os.environ.get(LIMIT, "60")
    with suppress(ValueError):
        if 0 < float(text) < inf:
            return float(text)
    raise PluginError(f"the environment variable {LIMIT} is {text!r}; it must be a number of seconds above 0.")


def reason(error: BaseException) -> str:
    """Return an exception in one line: its message, with its type unless heatproof or pluggy raised it."""
    text = " ".join(str(error).split())
    if isinstance(error, (HeatproofError, pluggy.PluginValidationError)):
        return text
    return f"{type(error).__name__}: {text}"


def kind_of(interface: type, kinds: Mapping[str, tuple[str, str]] = hooks.KINDS) -> str | None:
    """Return which of these kinds a component class has; None for a class of none."""
    names = [f"{parent.__module__}:{parent.__qualname__}" for parent in interface.__mro__]
    return next((kind for kind, (_, target) in kinds.items() if target in names), None)


def attribute(target: str) -> Any:
    """Return a module, or the object ``"module:object"``; raises the error of the import."""
    module, _, name = target.partition(":")
    return resolve_name(f"{module}:{name}")


def declarations(hook: str, answers: list[Any]) -> Iterable[tuple[str, str]]:
    """Return names and classes from the values of a registration hook; raises ``PluginError`` if it is no mapping."""
    declared = next(iter(answers), None)
    rule = 'it must return a mapping of names to "module:Class"'
    if not isinstance(declared, Mapping):
        raise PluginError(f"its hook {hook} returned {declared!r}; {rule}")
    for name, target in declared.items():
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise PluginError(f"its hook {hook} declares the name {name!r}; a name has letters, digits, _ and - only")
        if not (isinstance(target, str) and TARGET.fullmatch(target)):
            raise PluginError(f"its hook {hook} declares {name!r} as {target!r}; {rule}")
    return declared.items()
