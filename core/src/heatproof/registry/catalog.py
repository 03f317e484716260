"""The catalog: resolves the names that plugins register, loads their classes on first use, makes components."""

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import hooks
from ..errors import HeatproofError, PluginError, near
from .discovery import Announcement, Broken, discover, normal
from .plugins import Plugin, Plugins, attribute, reason

if TYPE_CHECKING:
    from ..component import Component

NAME = re.compile(r"[\w-]+")
TARGET = re.compile(r"[\w.]+:[\w.]+")


@dataclass(frozen=True)
class Registration:
    """One registered component: kind and name, who brings it, and where its class lies (``"module:Class"``)."""

    kind: str
    name: str
    distribution: str
    version: str
    target: str

    @property
    def full(self) -> str:
        """The name that is never ambiguous: ``distribution/name``."""
        return f"{self.distribution}/{self.name}"


class Catalog:
    """Everything that plugins register. A plugin at fault in anything is set apart with its reason; the others work.

    Modules of plugins are imported, the classes they declare are not: those load on first use. What the core itself
    brings comes as a plugin too.
    """

    def __init__(self, found: Sequence[Announcement], broken: Sequence[Broken] = ()):
        core = Announcement("heatproof", "heatproof.registry.builtin", "heatproof", metadata.version("heatproof"))
        self._plugins = Plugins([core, *found], broken)
        self._declared: dict[Plugin, list[Registration]] = {}
        self._class = functools.cache(_class)
        self._plugins.each(self._declare)

    @property
    def broken(self) -> tuple[Broken, ...]:
        """The plugins set apart, and those of which a hook failed, each with its reason."""
        return tuple(self._plugins.broken)

    @property
    def entries(self) -> tuple[Registration, ...]:
        """Every registered component, by kind, name and distribution."""
        kinds = list(hooks.KINDS)
        entries = [entry for plugin in self._plugins.working for entry in self._declared.get(plugin, ())]
        return tuple(sorted(entries, key=lambda entry: (kinds.index(entry.kind), entry.name, entry.distribution)))

    def call(self, hook: str, **arguments: Any) -> list[Any]:
        """What all plugins return from a hook, the core's or one that a plugin specifies.

        One that raises stops nobody and is named in the log and in ``broken``. Raises ``PluginError`` for a hook that
        nobody specifies.
        """
        return self._plugins.call(hook, **arguments)

    def answers(self, hook: str, **arguments: Any) -> tuple[list[Any], list[str]]:
        """What all plugins return, as from ``call``, and in a sentence each what went wrong with those that raised."""
        return self._plugins.answers(hook, **arguments)

    def resolve(self, kind: str, name: str) -> Registration:
        """The entry of ``name`` or ``distribution/name``; raises ``PluginError`` if it is unknown or ambiguous."""
        if kind not in hooks.KINDS:
            raise PluginError(f"there is no kind {kind!r}; {near(kind, hooks.KINDS)}")
        distribution, _, bare = name.rpartition("/")
        if not NAME.fullmatch(bare):
            raise PluginError(
                f"{name!r} is not a registered name; import paths are not taken, `heatproof list` has the names"
            )
        known = [entry for entry in self.entries if entry.kind == kind]
        matches = [entry for entry in known if entry.name == bare and normal(distribution) in ("", entry.distribution)]
        if len(matches) > 1:
            choices = " or ".join(repr(entry.full) for entry in matches)
            raise PluginError(f"{kind} {name!r} is brought by several distributions; write {choices}")
        return matches[0] if matches else self._unknown(kind, name, known)

    def load(self, entry: Registration) -> "type[Component]":
        """The class of an entry; where it cannot be had the plugin is set apart and ``PluginError`` says why."""
        try:
            return self._class(entry)
        except (Exception, SystemExit) as error:
            why = f"{entry.kind} {entry.name!r} does not load from {entry.target}: {reason(error)}"
            for plugin in [plugin for plugin in self._plugins.working if entry in self._declared[plugin]]:
                self._plugins.set_apart(plugin, why)
            raise PluginError(f"{entry.distribution} {entry.version} is broken: {why}") from error

    def create(self, kind: str, name: str, params: Mapping[str, Any], base: Path = Path()) -> "Component":
        """A component by name; in its Params nested ones are names or ``{"use": name, …}``, paths relative to ``base``.

        Raises ``PluginError`` for names and faults of plugins, pydantic's ``ValidationError`` for wrong Params;
        ``config.components.create`` puts these into words.
        """
        entry = self.resolve(kind, name)
        return self.load(entry).made(params, self.context(base), entry.full)

    def context(self, base: Path) -> dict[str, Any]:
        """What pydantic needs to validate whatever holds components; equal descriptions give one component."""
        return {"base": base, "catalog": self, "made": {}}

    def given(self, interface: "type[Component]", value: Any, context: Mapping[str, Any]) -> Any:
        """A Param of type ``interface``: a name or ``{"use": name, …}`` becomes a component."""
        if getattr(value, "registered", None) == "":
            return self._named(value, context)
        kind = None if hasattr(value, "registered") else _kind(interface)
        return self.described(kind, value, context) if kind else value

    def described(self, kind: str, value: Any, context: Mapping[str, Any]) -> "Component":
        """The component that a config describes; raises what pydantic puts at the place of the description."""
        description = (kind, json.dumps(value, sort_keys=True, default=id))
        if description not in context["made"]:
            context["made"][description] = self._described(kind, value, context)
        made: Component = context["made"][description]
        return made

    def verify(self) -> tuple[Broken, ...]:
        """Load every class; all that is broken."""
        for entry in self.entries:
            with suppress(PluginError):
                self.load(entry)
        return self.broken

    def _declare(self, plugin: Plugin) -> None:
        found, entries = plugin.found, self._declared.setdefault(plugin, [])
        for kind, (hook, _) in hooks.KINDS.items():
            if plugin in self._plugins.implementing(hook):
                for name, target in _declarations(hook, self._plugins.ask(plugin, hook)):
                    entries.append(Registration(kind, name, found.distribution, found.version, target))

    def _unknown(self, kind: str, name: str, known: Iterable[Registration]) -> NoReturn:
        other = [f"{name!r} is a {entry.kind}; " for entry in self.entries if name in (entry.name, entry.full)]
        names = {entry.full if "/" in name else entry.name for entry in known}
        apart = "; ".join(f"{one.distribution} {one.version}: {one.reason}" for one in self.broken)
        hint = f"; or it belongs to a broken plugin ({apart})" if apart else ""
        raise PluginError(f"no {kind} is named {name!r}; {''.join(other[:1])}{near(name, names)}{hint}")

    def _described(self, kind: str, value: Any, context: Mapping[str, Any]) -> "Component":
        from ..component import misfit

        params = dict(value) if isinstance(value, Mapping) else {"use": value}
        name, cls = params.pop("use", None), None
        try:
            if not isinstance(name, str):
                raise PluginError(f"should name a registered {kind}, or be a mapping with `use: name` and parameters")
            entry = self.resolve(kind, name)
            cls = self.load(entry)
            return cls.made(params, context, entry.full)
        except (HeatproofError, ValueError) as error:
            raise misfit(error, cls) from None

    def _named(self, value: "Component", context: Mapping[str, Any]) -> "Component":
        """A component that a plugin made itself (the default of a Param), under the name it is registered by."""
        package = _package(type(value).__module__)
        for entry in self.entries:
            if _package(entry.target) == package and self.load(entry) is type(value):
                return type(value).made(dict(value.params), context, entry.full)
        return value


@functools.cache
def default() -> Catalog:
    """The catalog of this process."""
    return Catalog(*discover())


def _declarations(hook: str, answers: list[Any]) -> Iterable[tuple[str, str]]:
    """What a registration hook declares; raises ``PluginError`` unless it maps names to ``"module:Class"``."""
    declared = answers[0] if answers else None
    wanted = 'it must return a mapping of names to "module:Class"'
    if not isinstance(declared, Mapping):
        raise PluginError(f"its hook {hook} returned {declared!r}; {wanted}")
    for name, target in declared.items():
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise PluginError(f"its hook {hook} declares the name {name!r}; a name has letters, digits, _ and - only")
        if not (isinstance(target, str) and TARGET.fullmatch(target)):
            raise PluginError(f"its hook {hook} declares {name!r} as {target!r}; {wanted}")
    return declared.items()


def _class(entry: Registration) -> "type[Component]":
    found, interface = attribute(entry.target), attribute(hooks.KINDS[entry.kind][1])
    if not (isinstance(found, type) and issubclass(found, interface)):
        raise PluginError(f"it is not a subclass of {hooks.KINDS[entry.kind][1].replace(':', '.')}")
    return found


def _kind(interface: "type[Component]") -> str | None:
    """The kind that a class of components belongs to."""
    names = [f"{parent.__module__}:{parent.__qualname__}" for parent in interface.__mro__]
    return next((kind for kind, (_, target) in hooks.KINDS.items() if target in names), None)


def _package(target: str) -> str:
    return target.split(":")[0].split(".")[0]
