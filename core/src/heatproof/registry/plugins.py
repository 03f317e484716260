"""The plugins of a process: imports them, sets those at fault apart, and calls their hooks one by one."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

import pluggy

from .. import hooks
from ..errors import PluginError, near
from .discovery import Announcement, Broken

log = logging.getLogger("heatproof")


@dataclass(eq=False)
class Plugin:
    """A plugin and, once imported, its module (or the object that its entry point names)."""

    found: Announcement
    module: Any = None

    def __str__(self) -> str:
        return f"{self.found.distribution} {self.found.version}"


class Plugins:
    """The plugins that work, and the broken ones. A fault of one leaves the others alone.

    All modules are imported, then all specifications added, then all plugins registered, then checked, so that the
    order of plugins does not matter. pluggy's own loader is not enough: one failing import aborts all, and of two
    equal entry-point names one is silently lost.
    """

    def __init__(self, found: Sequence[Announcement], broken: Sequence[Broken] = ()):
        self.broken = list(broken)
        self.working = [Plugin(announced) for announced in found]
        self._manager = pluggy.PluginManager("heatproof")
        self._manager.add_hookspecs(hooks)
        for stage in (self._import, self._specify, self._register, self._check):
            self.each(stage)

    def each(self, act: Callable[[Plugin], None]) -> None:
        """Do something with every working plugin; one that raises is set apart."""
        for plugin in list(self.working):
            try:
                act(plugin)
            except (Exception, SystemExit) as error:
                self.set_apart(plugin, reason(error))

    def set_apart(self, plugin: Plugin, why: str) -> None:
        """Take a plugin out and list it as broken."""
        self._note(plugin, why)
        self.working.remove(plugin)
        if self._manager.is_registered(plugin.module):
            self._manager.unregister(plugin.module)

    def implementing(self, hook: str) -> list[Plugin]:
        """The working plugins that implement a hook, in their order; ``tryfirst`` goes before, ``trylast`` behind."""
        caller = getattr(self._manager.hook, hook, None)
        if caller is None:
            raise PluginError(f"hook {hook!r} does not exist; {near(hook, self._specified())}")
        turns = {made.plugin: made.trylast - made.tryfirst for made in caller.get_hookimpls()}
        plugins = [plugin for plugin in self.working if plugin.module in turns]
        return sorted(plugins, key=lambda plugin: turns[plugin.module])

    def ask(self, plugin: Plugin, hook: str, **arguments: Any) -> list[Any]:
        """What one plugin returns from a hook: one value, none where it is None; ``PluginError`` where it raises."""
        others = [module for module in self._manager.get_plugins() if module is not plugin.module]
        try:
            return list(self._manager.subset_hook_caller(hook, others)(**arguments))
        except (Exception, SystemExit) as error:
            raise PluginError(f"its hook {hook} raised {reason(error)}") from error

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """What all plugins return, each asked by itself; one that raises is named in the log and in ``broken``."""
        return self.answers(hook, **arguments)[0]

    def answers(self, hook: str, **arguments: Any) -> tuple[list[Any], list[str]]:
        """What all plugins return, as from ``call``, and the fault of each that raised."""
        results, faults = [], []
        for plugin in self.implementing(hook):
            try:
                results += self.ask(plugin, hook, **arguments)
            except PluginError as error:
                log.warning("plugin %s: %s", plugin, error)
                self._note(plugin, str(error))
                faults.append(f"{plugin}: {error}")
        return results, faults

    def _note(self, plugin: Plugin, why: str) -> None:
        found = plugin.found
        broken = Broken(found.distribution, found.version, found.entry, why)
        if broken not in self.broken:
            self.broken.append(broken)

    def _import(self, plugin: Plugin) -> None:
        target = plugin.found.target
        try:
            plugin.module = attribute(target)
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
        """Raise ``PluginError`` for a specification with an option that calling plugins one by one cannot honour."""
        for name in dir(specifications):
            options = self._manager.parse_hookspec_opts(specifications, name)
            if options and (options["firstresult"] or options["historic"]):
                raise PluginError(
                    f"{name} is firstresult or historic, but plugins are called one by one and all answers returned; "
                    "specify it by @hookspec alone"
                )

    def _register(self, plugin: Plugin) -> None:
        self._manager.register(plugin.module, name=f"{plugin.found.distribution}/{plugin.found.entry}")

    def _check(self, plugin: Plugin) -> None:
        """Refuse hooks that nobody specifies or that wrap others, and a plugin without any."""
        callers = self._manager.get_hookcallers(plugin.module) or []
        if not callers:
            raise PluginError("it implements no hook; mark its functions with @hookimpl from heatproof.hooks")
        for caller in callers:
            implementations = [hook for hook in caller.get_hookimpls() if hook.plugin is plugin.module]
            if not caller.has_spec() and not all(hook.optionalhook for hook in implementations):
                raise PluginError(f"hook {caller.name!r} does not exist; {near(caller.name, self._specified())}")
            if any(hook.wrapper or hook.hookwrapper for hook in implementations):
                raise PluginError(
                    f"its hook {caller.name} is a wrapper, but plugins are called one by one, so that there is nothing "
                    "to wrap; make it a plain function, with tryfirst or trylast where its turn matters"
                )

    def _specified(self) -> list[str]:
        return [name for name, caller in vars(self._manager.hook).items() if caller.has_spec()]


def reason(error: BaseException) -> str:
    """An exception in one line: the message of heatproof's own, else with its type."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (PluginError, pluggy.PluginValidationError)) else f"{type(error).__name__}: {text}"


def attribute(target: str) -> Any:
    """The module, or the object ``"module:object"`` in it; raises what the import raises."""
    return resolve_name(target if ":" in target else f"{target}:")
