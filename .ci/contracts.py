"""Checks the imports of every package of the workspace with import-linter: ``python .ci/contracts.py [SOURCES]``.

The order of the core's layers is in the root ``pyproject.toml``. The contracts of plugins and kits follow from the
folders below ``plugins`` and from the public list of the core, so they cover a new plugin without any change. SOURCES
is a folder with all packages; by default the installed packages are checked.
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
"""Libraries that only plugins may import."""
OPTIONAL = "heatproof.api.rows -> pandas"
"""The one library that the core uses where a user has it: tables in Python are frames of pandas."""
LINT = "import sys; from importlinter.cli import lint_imports_command as main; sys.argv[1:] = {!r}; main()"


def packages(*kinds: str) -> list[str]:
    """The import packages below ``plugins``, of all kinds or only of these (``kits``, ``datasets``, …)."""
    folders = sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))
    return [
        f"heatproof_{folder.name.replace('-', '_')}" for folder in folders if not kinds or folder.parent.name in kinds
    ]


def public() -> tuple[str, ...]:
    """The public list of the core, read without importing it."""
    text = (CORE / "public.py").read_text(encoding="utf-8")
    block = re.search(r"^PUBLIC[^(]*\((.*?)\)", text, re.DOTALL | re.MULTILINE)
    if block is None:
        return ()
    return tuple(re.findall(r'"([\w.]+)"', block[1]))


def private() -> Iterator[str]:
    """The modules of the core that are not public; a package stands for its modules if none of them is public."""
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
    kits = packages("kits")
    all_packages = packages()
    plugins = [package for package in all_packages if package not in kits]
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["layers"]
    rules: dict[str, Mapping[str, str | Sequence[str]]] = {
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
            "ignore_imports": [OPTIONAL],
        },
    }  # fmt: skip
    if kits:
        rules["Kits need no plugin"] = {"type": "forbidden", "source_modules": kits, "forbidden_modules": plugins}
    return rules


def written() -> str:
    """The configuration file of import-linter."""
    text = configparser.ConfigParser()
    text["importlinter"] = {
        "root_packages": _text(["heatproof", *packages()]), "include_external_packages": "true",
        "exclude_type_checking_imports": "true",
    }  # fmt: skip
    for number, (name, contract) in enumerate(contracts().items()):
        values = {key: _text(value) for key, value in contract.items()}
        text[f"importlinter:contract:{number}"] = {"name": name, **values}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stream:
        text.write(stream)
        stream.seek(0)
        return stream.read()


def _text(value: str | Sequence[str]) -> str:
    """A value as the configuration file has it: a sequence is one line per item."""
    if isinstance(value, str):
        return value
    return "\n" + "\n".join(value)


def main(sources: Path | None = None) -> int:
    """Check the packages and return the exit status of import-linter."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "importlinter.ini")
        config.write_text(written(), encoding="utf-8")
        words = [sys.executable, "-c", LINT.format(["--config", str(config), "--no-cache"])]
        environment = None
        if sources is not None:
            environment = {"PYTHONPATH": str(sources), "PATH": "", "NO_COLOR": "1"}
        return subprocess.run(words, cwd=sources or folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
