"""Writes ``verdicts.md``, which explainers are exact on each network and why: ``python docs/verdicts.py``.

Every registered model of this repository has a section, also those that are added later. It is built with its default
settings, or with those of the first entry of its README that names it, but with random weights: verdicts follow from
the architecture. Names of models as arguments write their sections alone.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from heatproof.errors import HeatproofError
from heatproof.explainer import Explainer
from heatproof.model import Model
from heatproof.registry.catalog import Catalog, default

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/verdicts.md"
LEVELS = ("exact", "approximate", "undefined")
WEIGHTS = ("weights", "encoder_weights")
"""Settings of models that no verdict depends on."""
CODE_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
HEADING = """# Which explainers hold on which network

Every explainer judges a network before a run: its definition is *exact* there, *approximate* where something other than
its definition is computed at some layers, or *undefined*, and then its combinations are skipped. Verdicts follow from
the architecture, and are about the output that is explained. `heatproof check` prints those of a config.

A network that is traced has a copy in which each call of an activation is a module of its own, so that methods with
rules for layers see all of them. What has no rule there is named with its verdict.

The page is written by `python docs/verdicts.py`. Explainers that do not use the network are left out, and `layer` is
`last`. Networks of other libraries are on [the page of networks that were tried](networks.md).

## What each explainer needs

"""
EVERYWHERE = "Exact on every network"
LAYERS = "Exact on every network at a layer that the explained output depends on"


def registered(kind: str, catalog: Catalog) -> list[str]:
    """The registered names of this repository's components of a kind."""
    names = {path.parent.name for path in ROOT.glob("plugins/*/*/pyproject.toml")}
    entries = (entry for entry in catalog.entries if entry.kind == kind)
    return sorted(entry.name for entry in entries if entry.distribution.removeprefix("heatproof-") in names)


def created(kind: str, name: str, catalog: Catalog) -> tuple[Any, Mapping[str, Any]]:
    """A component with its default settings, or those of its README; and the settings that differ from the default."""
    try:
        return catalog.create(kind, name, {}), {}
    except (HeatproofError, ValidationError):
        settings = example(kind, name)
        return catalog.create(kind, name, settings), settings


def example(kind: str, name: str) -> dict[str, Any]:
    """The settings of the first entry of a README that names a component; raises ``LookupError`` where none does."""
    for page in sorted(ROOT.glob("plugins/*/*/README.md")):
        for text in CODE_BLOCK.findall(page.read_text(encoding="utf-8")):
            for entry in YAML(typ="safe").load(text).get(f"{kind}s", ()):
                if isinstance(entry, Mapping) and entry.get("use") == name:
                    return {key: untrained(value) for key, value in entry.items() if key not in ("use", *WEIGHTS)}
    raise LookupError(f"the {kind} {name} needs settings; give an entry with them in the README of its distribution.")


def untrained(value: Any) -> Any:
    """A setting without the weights of components in it."""
    if not isinstance(value, Mapping):
        return value
    return {key: untrained(inner) for key, inner in value.items() if key not in WEIGHTS}


def explainers(catalog: Catalog) -> dict[str, Explainer]:
    """The explainers that use the network, by name."""
    components = {name: created("explainer", name, catalog)[0] for name in registered("explainer", catalog)}
    return {name: component for name, component in components.items() if "model_free" not in component.traits}


def needs(methods: Mapping[str, Explainer]) -> str:
    """The table of what each explainer needs: the words of its verdict, or of every explainer's."""
    by_words: dict[str, list[str]] = {}
    for name, method in methods.items():
        words = LAYERS if "layers" in method.requires else EVERYWHERE
        if type(method).verdict is not Explainer.verdict:
            words = " ".join((type(method).verdict.__doc__ or "").split()).replace("``", "`").rstrip(".")
        by_words.setdefault(words, []).append(name)
    return table(("explainers", "verdict"), ((coded(names), words) for words, names in by_words.items()))


def section(name: str, catalog: Catalog, methods: Mapping[str, Explainer]) -> str:
    """The section of a model: its layer ``last``, and the explainers by verdict and reason."""
    model, settings = created("model", name, catalog)
    by_reason: dict[tuple[str, str], list[str]] = {}
    for label, method in methods.items():
        verdict = method.verdict(model)
        by_reason.setdefault((verdict.level, verdict.reason), []).append(label)
    ordered = sorted(by_reason.items(), key=lambda item: LEVELS.index(item[0][0]))
    rows = ((level, coded(names), reason or "its definition holds") for (level, reason), names in ordered)
    return f"{introduction(name, model, settings)}\n\n{table(('verdict', 'explainers', 'why'), rows)}\n"


def introduction(name: str, model: Model, settings: Mapping[str, Any]) -> str:
    """The heading of a section, and what is known of the network."""
    title = f"### `{name}`"
    with_settings = ", ".join(f"`{key}: {value}`" for key, value in settings.items())
    tried = f"Tried with {with_settings}. " if with_settings else ""
    outline = model.outline
    form = f"It cannot be traced ({outline.reason})" if outline.reason else "It is traced"
    last = f"`last` is `{model.last_layer}`" if outline.last or named(model) else f"`last`: {outline.unpooled}"
    return f"{title}\n\n{tried}{form}; {last}."


def named(model: Model) -> bool:
    """Whether a model names its last layer itself."""
    return type(model).last_layer is not Model.last_layer or type(model).layers is not Model.layers


def coded(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def sections(page: str) -> dict[str, str]:
    """The sections of models in a page, by name."""
    parts = re.split(r"^(?=### `)", page, flags=re.MULTILINE)[1:]
    return {part.split("`")[1]: part for part in parts}


def written(names: Sequence[str]) -> Iterator[str]:
    """The page: what explainers need, and a section per model; sections of other models than ``names`` stay."""
    catalog = default()
    methods = explainers(catalog)
    before = sections(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    yield f"{HEADING}{needs(methods)}\n## Networks\n"
    for name in registered("model", catalog):
        if name in before and names and name not in names:
            yield before[name].rstrip() + "\n"
        else:
            print(name, flush=True)
            yield section(name, catalog, methods)


if __name__ == "__main__":
    PAGE.write_text("\n".join(part.rstrip() + "\n" for part in written(sys.argv[1:])), encoding="utf-8")
