"""The distributions of the workspace follow the template, and no forbidden file is tracked."""

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from packaging.requirements import Requirement

from heatproof.hooks import KINDS

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = sorted(path.parent for path in ROOT.glob("plugins/*/*/pyproject.toml"))
FORBIDDEN = ("uv.lock", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.jpg", "*.jpeg", "*.tif", "*.tiff", "*.dcm", "*.nii*")
HOSTS = re.compile("|".join(rf"{name}\.{end}" for name, end in [("pypi", "org"), ("pythonhosted", "org")]))
CHECKPOINT = 10_000_000
KITS = [path for path in FOLDERS if path.parent.name == "kits"]
REGISTERING = [path for path in FOLDERS if path not in KITS]
DISTRIBUTION = pytest.mark.parametrize("folder", FOLDERS, ids=[path.name for path in FOLDERS])
PLUGIN = pytest.mark.parametrize("folder", REGISTERING, ids=[path.name for path in REGISTERING])


def toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def package(folder: Path) -> str:
    return f"heatproof_{folder.name.replace('-', '_')}"


def declared(folder: Path) -> Iterator[str]:
    """Yield the names that a plugin registers."""
    module = import_module(package(folder))
    for hook, _ in KINDS.values():
        yield from getattr(module, hook, dict)()


def implemented(folder: Path) -> list[str]:
    """List the hooks that a plugin implements."""
    return [name for name, member in vars(import_module(package(folder))).items() if hasattr(member, "heatproof_impl")]


def tracked() -> list[Path]:
    """List the tracked files that exist."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_there_are_plugins() -> None:
    assert {path.parent.name for path in FOLDERS} <= {
        "models",
        "explainers",
        "datasets",
        "metrics",
        "readers",
        "executors",
        "tools",
        "kits",
    }
    assert len(FOLDERS) >= 9


@DISTRIBUTION
def test_pyproject_follows_the_template(folder: Path) -> None:
    text = (folder / "pyproject.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)
    project = settings["project"]
    assert settings.keys() == {"project", "build-system"}
    assert settings["build-system"] == {"requires": ["hatchling"], "build-backend": "hatchling.build"}
    keys = {"name", "version", "description", "readme", "requires-python", "dependencies"}
    keys |= toml(ROOT / "pyproject.toml")["tool"]["heatproof"]["metadata"].keys()
    if folder in REGISTERING:
        keys.add("entry-points")
    assert project.keys() == keys
    assert project["name"] == f"heatproof-{folder.name}"
    if folder in REGISTERING:
        assert project["entry-points"] == {"heatproof": {folder.name: package(folder)}}
    assert project["readme"] == "README.md"
    assert "heatproof>=0.1,<0.2" in project["dependencies"]
    assert project["description"].endswith(".")
    assert len(text.splitlines()) <= 26


def test_what_distributions_have_in_common_is_written_from_the_root() -> None:
    """Version, Python, licence, authors, classifiers, links and the bounds of dependencies among themselves."""
    done = subprocess.run([sys.executable, ".ci/metadata.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_distribution_that_differs_is_named_and_mended() -> None:
    """A changed licence, a missing author and an unbound dependency are mended."""
    common = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    updated = runpy.run_path(str(ROOT / ".ci/metadata.py"))["updated"]
    text = (ROOT / "plugins/metrics/ecs/pyproject.toml").read_text(encoding="utf-8")
    assert updated(text, common) == text
    changed = text.replace('"Apache-2.0"', '"MIT"').replace("heatproof>=0.1,<0.2", "heatproof")
    changed = changed.replace('authors = [{ name = "heatproof contributors" }]\n', "")
    assert changed.count("\n") == text.count("\n") - 1
    mended = tomllib.loads(updated(changed, common))["project"]
    assert mended == tomllib.loads(text)["project"]
    common["project"]["version"] = "1.4.2"
    released = tomllib.loads(updated(text, common))["project"]
    assert released["version"] == "1.4.2"
    assert {"heatproof>=1.4,<1.5", "heatproof-lesions>=1.4,<1.5", "numpy>=1.26"} == set(released["dependencies"])


@DISTRIBUTION
def test_folder_follows_the_template(folder: Path) -> None:
    assert [path.name for path in (folder / "src").iterdir()] == [package(folder)]
    assert list((folder / "tests").glob("test_*.py"))
    assert (folder / "src" / package(folder) / "py.typed").read_text(encoding="utf-8") == ""


@DISTRIBUTION
def test_kits_that_are_imported_are_dependencies(folder: Path) -> None:
    dependencies = toml(folder / "pyproject.toml")["project"]["dependencies"]
    required = {Requirement(entry).name for entry in dependencies}
    kits = {package(kit): f"heatproof-{kit.name}" for kit in KITS if kit != folder}
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (folder / "src").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (heatproof_\w+)", sources, re.MULTILINE))
    needed = {name for module, name in kits.items() if module in imported}
    assert required & set(kits.values()) == needed


@PLUGIN
def test_the_readme_lists_registered_names(folder: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    names = list(declared(folder))
    if folder.parent.name == "tools":
        names = implemented(folder)
    assert names
    assert [name for name in names if name not in readme] == []


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported: without bodies of functions and imports for type checkers."""
    yield node
    typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    if not typing and not isinstance(node, ast.FunctionDef):
        for child in ast.iter_child_nodes(node):
            yield from at_import(child)


@PLUGIN
def test_registering_imports_nothing_heavy(folder: Path) -> None:
    tree = ast.parse((folder / "src" / package(folder) / "__init__.py").read_text(encoding="utf-8"))
    nodes = list(at_import(tree))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not [node for node in nodes if isinstance(node, ast.Import)]
    assert modules <= {"heatproof.hooks", "collections.abc", "typing"}


def test_workspace_is_in_lockstep() -> None:
    root = toml(ROOT / "pyproject.toml")
    assert root["project"]["version"] == toml(ROOT / "core/pyproject.toml")["project"]["version"]
    assert root["tool"]["uv"]["workspace"]["members"] == ["core", "plugins/*/*"]
    assert root["tool"]["uv"]["package"] is False


def test_extras_bring_distributions_of_the_workspace() -> None:
    extras = toml(ROOT / "core/pyproject.toml")["project"]["optional-dependencies"]
    sources = toml(ROOT / "pyproject.toml")["tool"]["uv"]["sources"]
    brought = {Requirement(text).name for requirements in extras.values() for text in requirements}
    assert {"heatproof-data", "heatproof-new", "heatproof-report"} <= brought
    assert sorted(brought - {f"heatproof-{folder.name}" for folder in REGISTERING}) == []
    assert sorted(brought - sources.keys()) == []


def test_kits_register_nothing() -> None:
    assert KITS
    assert [kit.name for kit in KITS if list(declared(kit))] == []


def test_no_forbidden_file_is_tracked() -> None:
    files = tracked()
    assert [path for path in files if any(path.match(pattern) for pattern in FORBIDDEN)] == []
    checkpoints = [path for path in files if path.suffix == ".safetensors"]
    assert [path for path in checkpoints if path.stat().st_size > CHECKPOINT] == []


def test_no_host_of_a_package_index_is_named() -> None:
    texts = {path: path.read_bytes().decode("utf-8", errors="ignore") for path in tracked()}
    assert [str(path) for path, text in texts.items() if HOSTS.search(text)] == []
    assert HOSTS.search("https://files." + "pythonhosted" + ".org/x.whl")
