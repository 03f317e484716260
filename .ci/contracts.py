"""Holds every package of the workspace to the one-way rule: ``python .ci/contracts.py [SOURCES]``.

The order of the core's layers stands in the root ``pyproject.toml``. The contracts of plugins and kits follow from the
folders below ``plugins`` and from the public list of the core, so that a new plugin is held to them without being
named anywhere. SOURCES is a folder that holds all packages; without it they are imported as installed.
"""

import configparser
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "core/src/heatproof"
LIBRARIES = ("torchvision", "captum", "zennit", "cv2", "skimage", "timm", "pandas", "pydicom", "nibabel")
"""What only plugins may need."""
LINT = "import sys; from importlinter.cli import lint_imports_command as main; sys.argv[1:] = {!r}; main()"


def packages(*kinds: str) -> list[str]:
    """The import packages below ``plugins``, or those of some kinds only (``kits``, ``datasets``, …)."""
    folders = sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))
    return [
        f"heatproof_{folder.name.replace('-', '_')}" for folder in folders if not kinds or folder.parent.name in kinds
    ]


def public() -> tuple[str, ...]:
    """The public list of the core, read without importing it."""
    text = (CORE / "public.py").read_text(encoding="utf-8")
    block = re.search(r"^PUBLIC[^(]*\((.*?)\)", text, re.DOTALL | re.MULTILINE)
    return tuple(re.findall(r'"([\w.]+)"', block[1])) if block else ()


def private() -> Iterator[str]:
    """The modules and packages of the core that are not public, each at the highest level at which all of it is not."""
    yield from _private(CORE, "heatproof", set(public()))


def _private(folder: Path, package: str, allowed: set[str]) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        name = f"{package}.{path.stem}"
        inner = path.is_dir() and (path / "__init__.py").is_file()
        if name in allowed or path.stem.startswith("__") or not (inner or path.suffix == ".py"):
            continue
        if inner and any(module.startswith(f"{name}.") for module in allowed):
            yield from _private(path, name, allowed)
        else:
            yield name


def contracts() -> dict[str, Mapping[str, str | Sequence[str]]]:
    """Every contract by name, as import-linter reads it."""
    kits, all_packages = packages("kits"), packages()
    plugins = [package for package in all_packages if package not in kits]
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["layers"]
    found: dict[str, Mapping[str, str | Sequence[str]]] = {
        "The core imports one way only": {
            "type": "layers", "containers": ["heatproof"], "exhaustive": "true", "layers": layers,
        },
        "Plugins never import each other": {"type": "independence", "modules": plugins},
        "Plugins keep to the public list": {
            "type": "forbidden", "source_modules": all_packages, "forbidden_modules": list(private()),
            "allow_indirect_imports": "true",
        },
        "The core needs no plugin, and no library of one": {
            "type": "forbidden", "source_modules": ["heatproof"], "forbidden_modules": [*LIBRARIES, *all_packages],
        },
    }  # fmt: skip
    if kits:
        found["Kits need no plugin"] = {"type": "forbidden", "source_modules": kits, "forbidden_modules": plugins}
    return found


def written() -> str:
    """The configuration file of import-linter."""
    text = configparser.ConfigParser()
    text["importlinter"] = {
        "root_packages": _lines(["heatproof", *packages()]), "include_external_packages": "true",
        "exclude_type_checking_imports": "true",
    }  # fmt: skip
    for number, (name, contract) in enumerate(contracts().items()):
        values = {key: value if isinstance(value, str) else _lines(value) for key, value in contract.items()}
        text[f"importlinter:contract:{number}"] = {"name": name, **values}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stream:
        text.write(stream)
        stream.seek(0)
        return stream.read()


def _lines(values: Sequence[str]) -> str:
    return "\n" + "\n".join(values)


def main(sources: Path | None = None) -> int:
    """Lint the packages; the exit status of import-linter."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "importlinter.ini")
        config.write_text(written(), encoding="utf-8")
        words = [sys.executable, "-c", LINT.format(["--config", str(config), "--no-cache"])]
        path = {"PYTHONPATH": str(sources), "PATH": "", "NO_COLOR": "1"} if sources else None
        return subprocess.run(words, cwd=sources or folder, env=path, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
