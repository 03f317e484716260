"""Starts plugins: a folder with one component, its pyproject and its conformance test."""

import keyword
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from packaging.version import Version

from heatproof.errors import HeatproofError
from heatproof_fresh_folders.folder import fresh_folder

FILES = (
    "pyproject.toml",
    "README.md",
    "src/package/__init__.py",
    "src/package/component.py",
    "tests/test_component.py",
)


def scaffold(kind: str, name: str, into: Path) -> Path:
    """Create a plugin folder ``heatproof-<name>`` with one component that already passes its checks.

    Returns the folder. Raises ``HeatproofError`` for other names, a package that is installed, and a folder that is not
    empty or cannot be written.
    """
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name) or name != name.lower():
        raise HeatproofError(
            f"{name!r} cannot be the name of a component; use lower-case words joined by _, such as my_method."
        )
    folder = into / f"heatproof-{name.replace('_', '-')}"
    package = f"heatproof_{name}"
    if find_spec(package):
        raise HeatproofError(f"a package {package} is installed already; choose another name.")
    words = {
        "kind": kind,
        "name": name,
        "package": package,
        "title": "".join(map(str.title, name.split("_"))),
        "versions": compatible_versions(version("heatproof")),
    }
    templates = Environment(
        loader=PackageLoader("heatproof_new"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    with fresh_folder(folder):
        for file in FILES:
            target = folder / file.replace("package", package).replace("component", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(templates.get_template(_template(kind, file)).render(words), encoding="utf-8")
    return folder


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
