"""Files of plugins: Python files that whoever runs a command names by ``--plugin`` or ``HEATPROOF_PLUGINS``.

A file is a plugin without a distribution: its hooks take part, and its component classes are registered by their names
in snake case. Its folder becomes importable, as that of a script, so that worker processes import it by its name.
"""

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import hooks
from ..digests import file_digest
from ..errors import PluginError
from ..shell import command, plugin_files
from ..source_files import LIBRARY, PACKAGES, real
from .discovery import Announcement, Broken
from .plugins import contained, import_limit, kind_of, reason

WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""The ends of words in the name of a class."""


def announcements() -> list[Announcement]:
    """Return the plugins in the files that ``HEATPROOF_PLUGINS`` names; raises ``PluginError`` for one at fault."""
    paths = dict.fromkeys(Path(real(str(path))) for path in plugin_files())
    return [announcement(path) for path in paths]


def announcement(path: Path) -> Announcement:
    """Return the plugin in a Python file, which is imported; raises ``PluginError`` with the line that is at fault."""
    _require_python(path)
    module = _imported(path)
    plugin = ModuleType(module.__name__, module.__doc__)
    implemented = {
        name: value
        for name, value in vars(module).items()
        if inspect.isroutine(value) and hasattr(value, "heatproof_impl")
    }
    vars(plugin).update(implemented)
    components = _components(module, path)
    for kind, targets in components.items():
        hook = hooks.KINDS[kind][0]
        if hook not in implemented:
            setattr(plugin, hook, hooks.hookimpl(lambda targets=targets: targets))
    if not (implemented or components):
        kinds = ", ".join(target.partition(":")[2] for _, target in hooks.KINDS.values())
        raise PluginError(
            f"{path.name} has nothing to register{_network_in(module)}; define a subclass of one of {kinds}, or "
            f"functions with @hookimpl; `{command('new', '--help')}` says how to start such a file."
        )
    return Announcement(path.stem, module.__name__, path.name, file_digest(path)[:8], plugin)


def require_sound(added: Iterable[Announcement], broken: Iterable[Broken], entries: Sequence[Any]) -> None:
    """Raise ``PluginError`` for a file with a hook at fault, and for a component whose name another plugin has."""
    names = {announcement.distribution for announcement in added}
    for plugin in broken:
        if plugin.distribution in names:
            raise PluginError(f"{plugin.distribution}: {plugin.reason}")
    for entry in entries:
        others = [other for other in entries if (other.kind, other.name) == (entry.kind, entry.name)]
        for other in others:
            if entry.distribution in names and other.distribution != entry.distribution:
                raise PluginError(
                    f"{entry.distribution} registers the {entry.kind} {entry.name!r}, which {other.distribution} "
                    "registers already; give its class another name."
                )


def snake_case(name: str) -> str:
    """Return the name that a class is registered by.

    >>> [snake_case(name) for name in ("MyNetwork", "ResNet18", "VNet", "LRPZPlus", "Net_A")]
    ['my_network', 'res_net18', 'v_net', 'lrpz_plus', 'net_a']
    """
    return WORDS.sub("_", name).replace("__", "_").lower()


def _require_python(path: Path) -> None:
    """Raise ``PluginError`` unless the path is a Python file that can be imported by its name."""
    if path.is_dir():
        raise PluginError(f"plugin file {path} is a folder; give one Python file, or install the folder as a package.")
    if not path.is_file():
        raise PluginError(f"plugin file {path} does not exist; give the path of a Python file.")
    if path.suffix != ".py":
        raise PluginError(f"plugin file {path} is not a Python file (.py); put your classes into one.")
    if os.pathsep in str(path):
        raise PluginError(f"plugin file {path} has {os.pathsep!r} in its path, which separates paths; rename it.")
    if not path.stem.isidentifier():
        name = re.sub(r"\W|^(?=\d)", "_", path.stem)
        raise PluginError(f"plugin file {path} has a name that Python cannot import; rename it, such as {name}.py.")


def _imported(path: Path) -> ModuleType:
    """The module of a file; its folder stands after the standard library on ``sys.path``, which it must not hide."""
    name = path.stem
    _require_free(name, path)
    if str(path.parent) not in sys.path:
        standard = [
            position
            for position, folder in enumerate(sys.path)
            if os.path.realpath(folder).startswith(LIBRARY) and PACKAGES.isdisjoint(folder.split(os.sep))
        ]
        sys.path.insert(max(standard, default=-1) + 1, str(path.parent))
    importlib.invalidate_caches()
    _require_free(name, path)
    try:
        with contained(import_limit()):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        sys.modules.pop(name, None)
        fault = f"{_line(error, path)}: cannot be imported ({reason(error)})"
        raise PluginError(f"{fault}; correct the file, or install what it imports.") from error


def _require_free(name: str, path: Path) -> None:
    """Raise ``PluginError`` if a module of this name is imported or can be imported, and is not the file."""
    origin = None
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None) or "the standard library"
    elif name in sys.stdlib_module_names:
        origin = "the standard library"
    else:
        with suppress(ImportError, ValueError):
            spec = find_spec(name)
            origin = spec and (spec.origin or "".join([*(spec.submodule_search_locations or ())][:1]))
    if origin and real(origin) != str(path):
        raise PluginError(f"plugin file {path}: there is another module {name} ({origin}); rename the file.")


def _line(error: BaseException, path: Path) -> str:
    """The file and line at fault: of a mistake in its syntax, or the last of the file that was executed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if real(frame.filename) == str(path)]
    return f"{path.name}:{lines[-1]}" if lines else path.name


def _components(module: ModuleType, path: Path) -> Mapping[str, Mapping[str, str]]:
    """Kind → name → ``"module:Class"`` of the concrete component classes that a module defines."""
    components: dict[str, dict[str, str]] = {}
    for attribute, value in vars(module).items():
        if not isinstance(value, type) or value.__module__ != module.__name__ or value.__name__ != attribute:
            continue
        kind = kind_of(value)
        if kind is None or attribute.startswith("_") or inspect.isabstract(value):
            continue
        names = components.setdefault(kind, {})
        name = snake_case(attribute)
        if name in names:
            first = names[name].partition(":")[2]
            raise PluginError(f"{path.name}: {first} and {attribute} are both named {name!r}; rename one of them.")
        names[name] = f"{module.__name__}:{attribute}"
    return components


def _network_in(module: ModuleType) -> str:
    """A remark on a torch module that a module defines; empty without one."""
    if "torch" not in sys.modules:
        return ""
    network = sys.modules["torch"].nn.Module
    classes = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, network)]
    names = [value.__name__ for value in classes if value.__module__ == module.__name__]
    return f": the network {names[0]} needs a Model that builds it" if names else ""
