"""The catalog of installed components: resolves names, loads classes on first use, creates components."""

import functools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

from packaging.utils import canonicalize_name

from ..errors import HeatproofError, PluginError, near
from ..shell import PLUGINS, command
from .discovery import Announcement, Broken, discover
from .files import announcements, require_sound
from .hints import advice, here
from .plugins import NAME, Plugin, Plugins, attribute, contained, declarations, import_limit, kind_of, reason

if TYPE_CHECKING:
    from ..component import Component


@dataclass(frozen=True)
class Registration:
    """A registered component: kind, name, distribution with version, and its class as ``"module:Class"``."""

    kind: str
    name: str
    distribution: str
    version: str
    target: str

    @property
    def full(self) -> str:
        """The unambiguous name ``distribution/name``."""
        return f"{self.distribution}/{self.name}"

    @property
    def statement(self) -> str:
        """The statement that imports its class."""
        module, _, name = self.target.partition(":")
        return f"from {module} import {name.partition('.')[0]}"


class Catalog:
    """The components of all plugins and of the core. A plugin at fault is set apart with the reason; the others work.

    The modules of plugins are imported at once, the classes they declare on first use.
    """

    def __init__(self, announcements: Sequence[Announcement], broken: Sequence[Broken] = ()):
        core = Announcement("heatproof", "heatproof.registry.builtin", "heatproof", metadata.version("heatproof"))
        self._plugins = Plugins([core, *announcements], broken)
        self._declared: dict[Plugin, list[Registration]] = {}
        self.kinds = self._plugins.kinds
        self._class = functools.cache(self._uncached_class)
        self._plugins.for_each(self._declare)

    @property
    def broken(self) -> tuple[Broken, ...]:
        """The plugins set apart and those with a failed hook, with reasons."""
        return tuple(self._plugins.broken)

    @property
    def apart(self) -> tuple[Broken, ...]:
        """The plugins set apart, with reasons."""
        working = {(plugin.announcement.distribution, plugin.announcement.entry) for plugin in self._plugins.working}
        return tuple(plugin for plugin in self.broken if (plugin.distribution, plugin.entry) not in working)

    @property
    def active(self) -> dict[str, str]:
        """The distributions with a plugin that works, and their versions."""
        plugins = [plugin.announcement for plugin in self._plugins.working]
        return {plugin.distribution: plugin.version for plugin in plugins}

    @property
    def entries(self) -> tuple[Registration, ...]:
        """All registered components, sorted by kind, name and distribution."""
        kinds = list(self.kinds)
        entries = [entry for plugin in self._plugins.working for entry in self._declared.get(plugin, ())]
        return tuple(sorted(entries, key=lambda entry: (kinds.index(entry.kind), entry.name, entry.distribution)))

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """Return the values of a hook from all plugins; raises ``PluginError`` for an unknown hook."""
        return self.answers(hook, **arguments)[0]

    def answers(self, hook: str, **arguments: Any) -> tuple[list[Any], list[str]]:
        """Return the values of a hook from all plugins, as ``call`` does, and one sentence per plugin that raised."""
        return self._plugins.answers(hook, **arguments)

    def first(self, hook: str, **arguments: Any) -> Any:
        """Return the first value that a plugin gives, or None; raises the ``HeatproofError`` of a plugin as it is."""
        return self._plugins.first(hook, **arguments)

    def resolve(self, kind: str, name: str) -> Registration:
        """Return the entry of ``name`` or ``distribution/name``; raises ``PluginError`` if unknown or ambiguous."""
        if kind not in self.kinds:
            raise PluginError(f"there is no kind {kind!r}; {near(kind, self.kinds)}")
        distribution, _, bare = name.rpartition("/")
        if not NAME.fullmatch(bare):
            reason = "import paths are not allowed"
            if ".py" in bare:
                reason = "a config loads no file of code: add --plugin FILE to the command"
            elif elsewhere := here(bare, self._names(kind), self.call("heatproof_synonyms")):
                reason = elsewhere
            raise PluginError(f"{name!r} is not a registered name; {reason}, see `{command('list')}`")
        matches = [entry for entry in self.entries if (entry.kind, entry.name) == (kind, bare)]
        if distribution:
            normalised = canonicalize_name(distribution)
            matches = [entry for entry in matches if canonicalize_name(entry.distribution) == normalised]
        if not matches:
            self._raise_unknown(kind, name)
        if len(matches) > 1:
            choices = " or ".join(repr(entry.full) for entry in matches)
            raise PluginError(f"{kind} {name!r} is registered by several distributions; write {choices}")
        return matches[0]

    def entries_of(self, name: str) -> list[Registration]:
        """Return the components of this name, or of the distribution of this name."""
        return [entry for entry in self.entries if name in (entry.name, entry.full, entry.distribution)]

    def require_entries(self, name: str) -> list[Registration]:
        """Return what ``entries_of`` does, or raise ``PluginError`` if that is nothing."""
        if entries := self.entries_of(name):
            return entries
        for plugin in self.broken:
            if plugin.distribution == name:
                raise PluginError(f"{name} is broken: {plugin.reason}")
        names = {text for entry in self.entries for text in (entry.name, entry.distribution)}
        raise PluginError(f"nothing is registered as {name!r}; {advice(name, names, self.call('heatproof_synonyms'))}")

    def functions(self, hook: str) -> list[Registration]:
        """Return the functions that plugins declare by a hook such as ``heatproof_figures``; their kind is the hook."""
        entries = []
        for plugin in self._plugins.implementing(hook):
            source = plugin.announcement
            try:
                declared = list(declarations(hook, self._plugins.ask(plugin, hook)))
            except PluginError as error:
                raise PluginError(f"{plugin}: {error}") from error
            entries += [
                Registration(hook, name, source.distribution, source.version, target) for name, target in declared
            ]
        return entries

    def function(self, entry: Registration) -> Callable[..., Any]:
        """Return the function of a registration of ``functions``; raises ``PluginError`` if it cannot be imported."""
        try:
            with contained(import_limit()):
                function = attribute(entry.target)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            why = f"{entry.name!r} of {entry.kind} does not load from {entry.target}: {reason(error)}"
            raise PluginError(f"{entry.distribution} {entry.version} is broken: {why}") from error
        if not callable(function):
            raise PluginError(f"{entry.distribution} {entry.version} is broken: {entry.target} is no function")
        return cast(Callable[..., Any], function)

    def load(self, entry: Registration) -> "type[Component]":
        """Return the class of an entry; if it does not load, set the plugin apart and raise ``PluginError``."""
        attribute(self.kinds[entry.kind][1])  # torch and the core need not count as the plugin's time
        try:
            with contained(import_limit()):
                return self._class(entry)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            why = f"{entry.kind} {entry.name!r} does not load from {entry.target}: {reason(error)}"
            for plugin in [plugin for plugin in self._plugins.working if entry in self._declared[plugin]]:
                self._plugins.set_apart(plugin, why)
            raise PluginError(f"{entry.distribution} {entry.version} is broken: {why}") from error

    def create(self, kind: str, name: str, params: Mapping[str, Any], base: Path = Path()) -> "Component":
        """Create a component as ``config.components.create`` does, but raise pydantic's ``ValidationError``."""
        entry = self.resolve(kind, name)
        return self.load(entry).create(params, self.context(base), entry.full)

    def context(self, base: Path) -> dict[str, Any]:
        """Return the context for pydantic to validate models with components; equal descriptions share a component."""
        return {"base": base, "catalog": self, "components": {}}

    def convert(self, interface: "type[Component]", value: Any, context: Mapping[str, Any]) -> Any:
        """Convert a Param of type ``interface``: a name or ``{"use": name, …}`` becomes a component."""
        if hasattr(value, "registered"):
            return self._register(value, context)
        kind = kind_of(interface, self.kinds)
        if kind is None:
            return value
        return self.build(kind, value, context)

    def build(self, kind: str, value: Any, context: Mapping[str, Any]) -> "Component":
        """Build the component that a config describes; raises an error that pydantic locates at the description."""
        components: dict[Any, Component] = context["components"]
        description = (kind, json.dumps(value, sort_keys=True, default=id), "inside" in context)
        if description not in components:
            components[description] = self._build(kind, value, context)
        return components[description]

    def verify(self) -> tuple[Broken, ...]:
        """Load every class and return everything that is broken."""
        for entry in self.entries:
            with suppress(PluginError):
                self.load(entry)
        return self.broken

    def _declare(self, plugin: Plugin) -> None:
        source = plugin.announcement
        entries = self._declared.setdefault(plugin, [])
        for kind, (hook, _) in self.kinds.items():
            if plugin in self._plugins.implementing(hook):
                for name, target in declarations(hook, self._plugins.ask(plugin, hook)):
                    entries.append(Registration(kind, name, source.distribution, source.version, target))

    def _names(self, kind: str, full: bool = False) -> set[str]:
        return {entry.full if full else entry.name for entry in self.entries if entry.kind == kind}

    def _uncached_class(self, entry: Registration) -> "type[Component]":
        """The class of an entry; raises ``PluginError`` if it is no subclass of the interface of its kind."""
        _, target = self.kinds[entry.kind]
        component = attribute(entry.target)
        if not (isinstance(component, type) and issubclass(component, attribute(target))):
            raise PluginError(f"it is not a subclass of {target.replace(':', '.')}")
        return cast("type[Component]", component)

    def _raise_unknown(self, kind: str, name: str) -> NoReturn:
        kinds = [entry.kind for entry in self.entries if name in (entry.name, entry.full)]
        hint = "".join(f"{name!r} is of kind {kind}; " for kind in kinds[:1])
        names = self._names(kind, full="/" in name)
        message = f"no {kind} is named {name!r:.80}; {hint}{advice(name, names, self.call('heatproof_synonyms'))}"
        if self.broken:
            faults = "; ".join(map(str, self.broken))
            message += f"; or it belongs to a broken plugin ({faults})"
        raise PluginError(message)

    def _build(self, kind: str, value: Any, context: Mapping[str, Any]) -> "Component":
        from ..component import misfit

        params = dict(value) if isinstance(value, Mapping) else {"use": value}
        name = params.pop("use", None)
        cls = None
        try:
            if not isinstance(name, str):
                raise PluginError(f"should name a registered {kind}, or be a mapping with `use: name` and settings")
            entry = self.resolve(kind, name)
            cls = self.load(entry)
            inside = {**context, "inside": entry.full}
            if "inside" in context or "name" not in params or "name" in cls.Params.model_fields:
                return cls.create(params, inside, entry.full)
            label = params.pop("name")
            return cls.create(params, inside, entry.full).with_name(label)
        except (HeatproofError, ValueError) as error:
            raise misfit(error, cls, params) from None

    def _register(self, value: "Component", context: Mapping[str, Any]) -> "Component":
        """Return a component without a name, such as the default of a Param, under its registered name."""
        if value.registered:
            return value
        package = type(value).__module__.partition(".")[0]
        for entry in self.entries:
            if re.split("[.:]", entry.target)[0] == package and self.load(entry) is type(value):
                return type(value).create(dict(value.params), context, entry.full)
        return value


def default() -> Catalog:
    """Return the catalog of this process: of what is installed, and of the files that ``HEATPROOF_PLUGINS`` names."""
    return _default(os.environ.get(PLUGINS, ""))


@functools.cache
def _default(files: str) -> Catalog:
    installed, broken = discover()
    added: list[Announcement] = []
    if files:
        added = announcements()
    catalog = Catalog([*installed, *added], broken)
    require_sound(added, catalog.broken, catalog.entries)
    return catalog
