"""Writes the parts of the documentation that are generated from the code: commands, laws, modules and plugins.

``python docs/generated.py`` fills every block between ``<!-- generated: name -->`` and ``<!-- end -->``;
``tests/test_docs.py`` fails when a block is out of date.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from importlib import import_module
from pathlib import Path

import click

from heatproof.cli import commands as cli
from heatproof.component import Params
from heatproof.public import PUBLIC
from heatproof.registry.catalog import default
from heatproof.testing import component, dataset, evidence, explainer, metric, model, reader

DOCS = Path(__file__).parent
CORE = DOCS.parent / "core/src/heatproof"
PLUGINS = DOCS.parent / "plugins"
DIRECTIVE = re.compile(r"^\.\. auto(?:module|class):: (\S+)$", re.MULTILINE)
GATHERED = ("heatproof.passes", "heatproof.testing")
"""Packages whose ``__init__`` exports everything public."""
INHERITED = ("Params", "params", "model_config")
"""Members of every component, which only the page of the component's base class describes."""
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def commands() -> str:
    """Every command of this repository with its help, as ``--help`` prints it."""
    settings = cli.cli.context_settings
    top = click.Context(group(), info_name="heatproof", terminal_width=96, max_content_width=96, **settings)
    sections = (f"## `{context.command_path}`\n\n```text\n{context.get_help()}\n```\n" for context in contexts(top))
    return "\n".join(sections)


def group() -> click.Group:
    """The commands of the core and of this repository's tools, without those of other installed plugins."""
    plain = click.Group("heatproof", dict(cli.cli.commands), help=cli.cli.help, params=cli.cli.params)
    for folder in sorted(PLUGINS.glob("tools/*/src/*")):
        add_commands = getattr(import_module(folder.name), "heatproof_commands", None)
        if add_commands:
            add_commands(cli=plain)
    return plain


def contexts(context: click.Context) -> Iterator[click.Context]:
    """A context for a command and for each command below it."""
    yield context
    for name, command in sorted(getattr(context.command, "commands", {}).items()):
        yield from contexts(click.Context(command, context, info_name=name))


def laws() -> str:
    """Every law of the conformance kit, by kind of component."""
    kinds: Mapping[str, Iterable[Callable[..., None]]] = {
        "Every component": component.LAWS, "Explainers, on any network": explainer.LAWS,
        "Explainers, where the truth is known": evidence.LAWS, "Models": model.LAWS, "Metrics": metric.LAWS,
        "Datasets": dataset.LAWS, "Readers": reader.LAWS,
    }  # fmt: skip
    return "\n".join(f"### {kind}\n\n{_law_table(functions)}\n" for kind, functions in kinds.items())


def _law_table(functions: Iterable[Callable[..., None]]) -> str:
    rows = [(law.__name__.replace("_", " "), _sentences(law.__doc__)) for law in functions]
    return _table(("check", "what must hold"), rows)


def _sentences(docstring: str | None) -> str:
    return " ".join((docstring or "").replace("``", "`").split())


def modules() -> str:
    """The modules and packages of the core with the first line of their docstrings."""
    paths = {path.stem: path for path in CORE.glob("*.py") if path.stem != "__init__"}
    paths |= {path.parent.stem: path for path in CORE.rglob("__init__.py")}
    docstrings = {name: ast.get_docstring(ast.parse(path.read_text("utf-8"))) for name, path in paths.items()}
    rows = [(f"`{name}`", _sentences((text or "").split("\n\n")[0])) for name, text in sorted(docstrings.items())]
    return _table(("module", "what it does"), rows) + "\n"


def layers() -> str:
    """The modules of the core from the top down, in the order of import-linter's contract."""
    lines = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["layers"]
    return "\n".join(["```text", *(line.replace(" | ", ", ") for line in lines), "```\n"])


def public() -> str:
    """The modules and packages that plugins may import, from the bottom up."""
    return "\n".join(["```text", *PUBLIC, "```\n"])


def reference() -> str:
    """A section for every public module that no other page describes; ``docs/hooks.md`` describes the hooks."""
    pages = (page.read_text("utf-8") for page in sorted((DOCS / "interfaces").glob("*.md")))
    described = {"heatproof.hooks", *(name for page in pages for name in DIRECTIVE.findall(page))}
    return "\n".join(_section(name, described) for name in PUBLIC if name not in described)


def _section(name: str, described: Set[str]) -> str:
    """The members of a public module or package, except those that another page describes."""
    modules = [module for module in _modules(name) if module not in described]
    blocks = [
        f"```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n"
        f"   :exclude-members: {', '.join(_hidden(module, described))}\n```\n"
        for module in modules
    ]
    return f"## {name}\n\n" + "\n".join(blocks)


def _hidden(module: str, described: Set[str]) -> list[str]:
    """The members of a module that another page describes, and those that every component inherits."""
    elsewhere = sorted(name.removeprefix(f"{module}.") for name in described if name.rpartition(".")[0] == module)
    return elsewhere + [name for name in INHERITED if f"{module}.{name}" != f"{Params.__module__}.Params"]


def _modules(name: str) -> list[str]:
    """The name of a public module, or the names of the modules in a public package."""
    folder = CORE / Path(*name.split(".")[1:])
    inner = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    if not inner or name in GATHERED:
        return [name]
    return [f"{name}.{module}" for module in inner]


def plugins() -> str:
    """The distributions of this repository with their registered components, followed by their READMEs."""
    return f"{_table(('distribution', 'registers', 'what it is'), map(_row, _distributions()))}\n\n{_readmes()}\n"


def _distributions() -> list[Path]:
    return sorted(path.parent for path in PLUGINS.glob("*/*/pyproject.toml"))


def _row(folder: Path) -> tuple[str, str, str]:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    names = [f"`{entry.name}`" for entry in default().entries if entry.distribution == project["name"]]
    kind = folder.parent.name.removesuffix("s")
    return f"[{project['name']}](#{project['name']})", f"{kind} {', '.join(names)}", project["description"]


def _readmes() -> str:
    paths = [f"../{folder.relative_to(DOCS.parent)}/README.md" for folder in _distributions()]
    return "\n\n".join(f"```{{include}} {path}\n:heading-offset: 1\n```" for path in paths)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BLOCKS: Mapping[str, Callable[[], str]] = {
    block.__name__: block for block in (commands, laws, modules, layers, public, reference, plugins)
}


def filled(text: str) -> str:
    """A page with every generated block up to date."""
    return BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]]()}{match[3]}", text)


if __name__ == "__main__":
    for page in sorted(DOCS.glob("*.md")):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
