"""Writes what all distributions have in common into their ``pyproject.toml``: ``python .ci/metadata.py [--check]``.

Version, Python, licence, authors, classifiers and links stand once, in the root ``pyproject.toml``. The core and every
distribution below ``plugins`` get them from there, and what depends on the core, or on another distribution of this
repository, is bound to its minor version: 0.3 → ``>=0.3,<0.4``. ``--check`` changes nothing and fails where a file
differs.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import tomlkit
from packaging.requirements import Requirement
from tomlkit.items import Array
from tomlkit.toml_document import TOMLDocument

from heatproof_new.scaffold import compatible_versions

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "core/pyproject.toml", *sorted(ROOT.glob("plugins/*/*/pyproject.toml"))]


def updated(text: str, common: TOMLDocument) -> str:
    """The text of a ``pyproject.toml`` with the common metadata in it; its layout stays."""
    document: Any = tomlkit.parse(text)
    shared: Any = common["project"]
    project = document["project"]
    for name in ("version", "requires-python"):
        project[name] = shared[name]
    metadata: Any = common["tool"]
    for name, value in metadata["heatproof"]["metadata"].items():
        project[name] = value
    extras = project.get("optional-dependencies", {})
    for requirements in [project["dependencies"], *extras.values()]:
        _bind(requirements, compatible_versions(shared["version"]))
    return tomlkit.dumps(document)


def _bind(requirements: Array, versions: str) -> None:
    """Bind the distributions of this repository among the requirements."""
    for index, requirement in enumerate(list(requirements)):
        name = Requirement(requirement).name
        if name.partition("-")[0] == "heatproof" and requirement != name + versions:
            requirements[index] = name + versions


def main() -> int:
    """Write every file that differs, or name it; 1 where ``--check`` names one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file differs")
    check = parser.parse_args().check
    common = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    differing = 0
    for path in FILES:
        before = path.read_text(encoding="utf-8")
        after = updated(before, common)
        if after == before:
            continue
        differing += 1
        if check:
            print(f"{path.relative_to(ROOT)} differs from the root pyproject.toml; run `python .ci/metadata.py`.")
        else:
            path.write_text(after, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return int(check and differing > 0)


if __name__ == "__main__":
    sys.exit(main())
