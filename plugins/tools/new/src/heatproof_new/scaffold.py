"""Starts components: a file, or a folder with its pyproject and its conformance test."""

import keyword
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from packaging.version import Version

from heatproof.cli.terminal import catalog
from heatproof.errors import HeatproofError
from heatproof_fresh_folders.folder import fresh_folder

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*")
FILES = (
    "pyproject.toml",
    "README.md",
    "src/package/__init__.py",
    "src/package/component.py",
    "tests/test_component.py",
)


def component_name(text: str) -> str:
    """Return the name of a component, with ``_`` for ``-``; raises ``HeatproofError`` for other names.

    >>> component_name("my-network")
    'my_network'
    """
    name = text.replace("-", "_")
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise HeatproofError(
            f"{text!r} cannot be the name of a component; use lower-case words that begin with a letter, joined by _, "
            "such as my_method."
        )
    return name


def component_file(kind: str, name: str, into: Path) -> Path:
    """Create the file ``NAME.py`` with one component that already passes its checks; return its path.

    Raises ``HeatproofError`` for a name that an installed component or a module has, and for a file that exists or
    cannot be written.
    """
    file = into / f"{name}.py"
    if file.exists():
        raise HeatproofError(f"{file} exists already; choose another name or folder.")
    if find_spec(name):
        raise HeatproofError(f"a module {name} is installed already; choose another name.")
    for entry in catalog().entries:
        if (entry.kind, entry.name) == (kind, name):
            raise HeatproofError(f"{entry.distribution} registers the {kind} {name} already; choose another name.")
    text = _rendered(f"{kind}.py.j2", _words(kind, name))
    try:
        into.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        with suppress(OSError):
            file.unlink()
        raise HeatproofError(
            f"cannot write to {file}: {error.strerror}; make room, or choose another folder."
        ) from None
    return file


def scaffold(kind: str, name: str, into: Path) -> Path:
    """Create a plugin folder ``heatproof-<name>`` with one component that already passes its checks.

    Returns the folder. Raises ``HeatproofError`` for a package that is installed, and a folder that is not empty or
    cannot be written.
    """
    folder = into / f"heatproof-{name.replace('_', '-')}"
    package = f"heatproof_{name}"
    if find_spec(package):
        raise HeatproofError(f"a package {package} is installed already; choose another name.")
    words = _words(kind, name) | {"package": package, "versions": compatible_versions(version("heatproof"))}
    with fresh_folder(folder):
        for file in FILES:
            target = folder / file.replace("package", package).replace("component", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_rendered(_template(kind, file), words), encoding="utf-8")
    return folder


def _words(kind: str, name: str) -> dict[str, str]:
    """What every template fills in; the class is named so that ``--plugin`` registers it by the name."""
    return {"kind": kind, "name": name, "title": "".join(map(str.capitalize, name.split("_")))}


def _rendered(template: str, words: Mapping[str, str]) -> str:
    templates = Environment(
        loader=PackageLoader("heatproof_new"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return templates.get_template(template).render(words)


def compatible_versions(installed: str) -> str:
    """Return the requirement that allows the patch versions of the installed minor version.

    >>> compatible_versions("0.3.1")
    '>=0.3,<0.4'
    """
    parsed = Version(installed)
    return f">={parsed.major}.{parsed.minor},<{parsed.major}.{parsed.minor + 1}"


def _template(kind: str, file: str) -> str:
    """The template of a file: the component has one per kind, every other file one for all kinds."""
    leaf = file.rsplit("/", 1)[-1]
    if leaf == "component.py":
        return f"{kind}.py.j2"
    return f"{leaf}.j2"
