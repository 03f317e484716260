"""Starts plugins, and writes synthetic samples in a dataset's own layout."""

import keyword
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .catalog import Catalog
from .dataset import Dataset
from .errors import ConfigError, HeatproofError
from .records import Sample
from .yamlfile import Document

FILES = (
    "pyproject.toml",
    "README.md",
    "src/package/__init__.py",
    "src/package/component.py",
    "tests/test_component.py",
)


def scaffold(kind: str, name: str, into: Path) -> Path:
    """A new plugin folder ``heatproof-<name>`` with one component that already passes its checks."""
    if not (name.isidentifier() and name.isascii()) or keyword.iskeyword(name) or name != name.lower():
        raise HeatproofError(
            f"{name!r} is no name for a component; use lower-case words joined by _, such as my_method."
        )
    folder, package = into / f"heatproof-{name.replace('_', '-')}", f"heatproof_{name}"
    if find_spec(package):
        raise HeatproofError(f"a package {package} is installed already; choose another name.")
    words = {"kind": kind, "name": name, "package": package, "title": "".join(map(str.title, name.split("_")))}
    templates = Environment(
        loader=PackageLoader("heatproof", "templates"), undefined=StrictUndefined, keep_trailing_newline=True
    )
    with _fresh(folder):
        for file in FILES:
            target = folder / file.replace("package", package).replace("component", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(templates.get_template(_template(kind, file)).render(words), encoding="utf-8")
    return folder


def _template(kind: str, file: str) -> str:
    """The template of a file: one per kind for the component, one for all else."""
    leaf = file.rsplit("/", 1)[-1]
    return f"{kind}.py.j2" if leaf == "component.py" else f"{leaf}.j2"


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """A folder that is empty at first, and gone again on any error; ``HeatproofError`` where it cannot be had."""
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise HeatproofError(
                f"{folder} is not empty; choose another name or folder, so that nothing is overwritten."
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise _unwritable(folder, error) from error
        raise


def _unwritable(folder: Path, error: OSError) -> HeatproofError:
    return HeatproofError(f"cannot write to {folder}: {error.strerror or error}; make room, or choose another folder.")


def write_layout(
    catalog: Catalog, name: str, source: str, settings: Sequence[str], split: str | None, root: Path,
    layout_settings: Sequence[str] = (),
) -> int:  # fmt: skip
    """Write samples of dataset ``source`` in the layout of dataset ``name``; the number written."""
    origin: Any = catalog.create("dataset", source, settings_of(settings))
    origin.require_split(split)
    layout: Any = catalog.create("dataset", name, settings_of(layout_settings) | {"root": str(root.absolute())})
    with _fresh(root):
        count: int = layout.write(_samples(origin, layout, split), root)
    return count


def settings_of(assignments: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` texts of the command line as Params, values in YAML; raises ``ConfigError`` with each mistake."""
    document = Document("--set", {})
    for assignment in assignments:
        document.override(assignment)
    if document.problems:
        raise ConfigError("\n".join(map(str, document.problems)))
    return dict(document.data)


def _samples(origin: Dataset, layout: Dataset, split: str | None) -> Iterator[Sample]:
    """The samples one by one, each told the split of the layout that it goes to."""
    for part in [split] if split else origin.splits:
        extras = {"split": _split(part, origin, layout)} if len(origin.splits) > 1 else {}
        for id in origin.ids(part):
            sample = origin.load(id)
            yield Sample(**{**vars(sample), "extras": {**sample.extras, **extras}})


def _split(part: str, origin: Dataset, layout: Dataset) -> str:
    """The layout's split of the same name, of the same use (tuning), or of the same place (the last one, or not)."""
    if part in layout.splits:
        return part
    if part == origin.tuning and layout.tuning:
        return layout.tuning
    return layout.splits[-1 if part == origin.splits[-1] else 0]
