"""Starts plugins, and writes synthetic samples in a dataset's own layout."""

import keyword
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from .catalog import Catalog
from .dataset import Dataset
from .errors import DataError, SalixError
from .records import Sample
from .store import writing

FILES = (
    "pyproject.toml",
    "README.md",
    "src/package/__init__.py",
    "src/package/component.py",
    "tests/test_component.py",
)


def scaffold(kind: str, name: str, into: Path) -> Path:
    """A new plugin folder ``salix-<name>`` with one component that already passes its checks."""
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise SalixError(f"{name!r} is no name for a component; use lower-case words joined by _, such as my_method.")
    folder = into / f"salix-{name.replace('_', '-')}"
    if folder.exists():
        raise SalixError(f"{folder} exists already; choose another name or folder.")
    words = {"kind": kind, "name": name, "package": f"salix_{name}", "title": "".join(map(str.title, name.split("_")))}
    loader = Environment(
        loader=PackageLoader("salix", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )  # noqa: S701  the templates are Python and TOML, and every word put into them is an identifier
    with writing(folder):
        for file in FILES:
            target = folder / file.replace("package", words["package"]).replace("component", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(loader.get_template(_template(kind, file)).render(words), encoding="utf-8")
    return folder


def _template(kind: str, file: str) -> str:
    """The template of a file: one per kind for the component, one for all else."""
    leaf = file.rsplit("/", 1)[-1]
    return f"{kind}.py.j2" if leaf == "component.py" else f"{leaf}.j2"


def templates() -> list[str]:
    """The names of all templates that are shipped."""
    return sorted(entry.name for entry in resources.files("salix").joinpath("templates").iterdir())


def write_layout(
    catalog: Catalog, name: str, source: str, settings: Sequence[str], split: str | None, root: Path
) -> int:
    """Write samples of dataset ``source`` in the layout of dataset ``name``; the number written."""
    origin = catalog.create("dataset", source, settings_of(settings), Path())
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        layout = catalog.create("dataset", name, {"root": str(root)}, Path())
        if not isinstance(origin, Dataset) or not isinstance(layout, Dataset):
            raise DataError(f"{source} and {name} must both be datasets.")
        return layout.write(_samples(origin, split), root)


def settings_of(settings: Sequence[str]) -> Mapping[str, object]:
    """``NAME=VALUE`` texts of the command line as Params; values are YAML."""
    pairs = [entry.partition("=") for entry in settings]
    if wrong := [name for name, equals, _ in pairs if not (name and equals)]:
        raise SalixError(f"--set {wrong[0]!r} is no setting; write NAME=VALUE, such as patients=27.")
    return {name: YAML(typ="safe").load(value) for name, _, value in pairs}


def _samples(origin: Dataset, split: str | None) -> Iterator[Sample]:
    """The samples one by one, each told its split."""
    for part in [split] if split else origin.splits:
        for id in origin.ids(part):
            sample = origin.load(id)
            yield Sample(**{**vars(sample), "extras": {**sample.extras, "split": part}})
