"""The one-way rule: import-linter holds the code to it, and finds what breaks it."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINTER = "import sys; from importlinter.cli import lint_imports_command as main; sys.argv[1:] = {!r}; main()"
FOR_PLUGINS = {
    "agreement", "area", "batch", "component", "contours", "dataset", "dicom", "errors", "explainer", "folders", "gaze",
    "grading", "hooks", "images", "keyed", "listing", "marks", "metric", "mimic", "model", "modules", "nifti",
    "partition", "passes", "readings", "records", "series", "tabular", "testing", "transforms",
}  # fmt: skip
PLANTED: Mapping[str, tuple[str, str, str]] = {
    "The core imports one way only": (
        "heatproof/errors.py",
        "from . import store",
        "heatproof.errors -> heatproof.store",
    ),
    "Plugins never import each other": (
        "heatproof_ecs/ecs.py",
        "import heatproof_cam.gradcam",
        "heatproof_ecs.ecs -> heatproof_cam.",
    ),
    "Plugins keep to the interfaces": (
        "heatproof_cam/gradcam.py",
        "from heatproof.plan import Plan",
        "gradcam -> heatproof.plan",
    ),
    "The core needs no plugin, and no library of one": (
        "heatproof/images.py",
        "import scipy",
        "heatproof.images -> scipy",
    ),
}
"""Contract → a file, the line that breaks it, and what the linter says of it."""


def settings() -> dict[str, dict[str, object]]:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    return {contract["name"]: contract for contract in linter["contracts"]}


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter with the workspace's contracts, on the packages that lie in ``folder``."""
    script = LINTER.format(["--config", str(ROOT / "pyproject.toml"), "--no-cache"])
    words, path = [sys.executable, "-c", script], {"PYTHONPATH": str(folder), "PATH": "", "NO_COLOR": "1"}
    return subprocess.run(words, cwd=folder, env=path, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The sources of all packages in one folder."""
    for source in [ROOT / "core/src", *ROOT.glob("plugins/*/*/src")]:
        shutil.copytree(source, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_code_keeps_the_rule(copied: Path) -> None:
    done = linted(copied)
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {len(settings())} kept, 0 broken." in done.stdout


def test_every_contract_can_break(copied: Path) -> None:
    assert PLANTED.keys() == settings().keys()
    for file, line, _ in PLANTED.values():
        path = copied / file
        path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    (copied / "heatproof/fresh.py").write_text('"""A module without a layer."""\n')
    done = linted(copied)
    said = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode == 1
    assert [name for name in PLANTED if f"{name} BROKEN" not in said] == []
    assert [seen for *_, seen in PLANTED.values() if seen not in said] == []
    assert "fresh" in said


def test_plugins_may_import_the_interfaces_only() -> None:
    modules = {
        path.stem
        for path in (ROOT / "core/src/heatproof").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    forbidden = settings()["Plugins keep to the interfaces"]["forbidden_modules"]
    assert isinstance(forbidden, list)
    assert modules - {"__init__"} - FOR_PLUGINS == {name.removeprefix("heatproof.") for name in forbidden}
