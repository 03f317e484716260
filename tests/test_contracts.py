"""The contracts of imports: the code keeps them, and import-linter reports each violation."""

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest

from heatproof.public import PUBLIC

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / ".ci/contracts.py"
CONTRACTS = runpy.run_path(str(PROGRAM))
PLANTED: Mapping[str, tuple[str, str, str]] = {
    "The core imports one way only": (
        "heatproof/errors.py",
        "from .results import store",
        "heatproof.errors -> heatproof.results.store",
    ),
    "Plugins never import each other": (
        "heatproof_ecs/ecs.py",
        "import heatproof_cam.gradcam",
        "heatproof_ecs.ecs -> heatproof_cam.",
    ),
    "Plugins keep to the public list": (
        "heatproof_cam/gradcam.py",
        "from heatproof.plan.plan import Plan",
        "gradcam -> heatproof.plan.plan",
    ),
    "The core needs no plugin, and no library of one": (
        "heatproof/imaging/images.py",
        "import cv2",
        "heatproof.imaging.images -> cv2",
    ),
    "Kits need no plugin": (
        "heatproof_lesions/agreement.py",
        "import heatproof_ecs.ecs",
        "heatproof_lesions.agreement -> heatproof_ecs.ecs",
    ),
}
"""Contract → a file, a line that breaks the contract, and the message of import-linter."""


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter with the contracts of the workspace on the packages in ``folder``."""
    words = [sys.executable, str(PROGRAM), str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Copy the sources of all packages to one folder."""
    for source in [ROOT / "core/src", *ROOT.glob("plugins/*/*/src")]:
        shutil.copytree(source, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_code_keeps_the_contracts(copied: Path) -> None:
    done = linted(copied)
    assert done.returncode == 0, done.stdout
    assert f"Contracts: {len(CONTRACTS['contracts']())} kept, 0 broken." in done.stdout


def test_every_contract_can_break(copied: Path) -> None:
    assert PLANTED.keys() == CONTRACTS["contracts"]().keys()
    for file, line, _ in PLANTED.values():
        path = copied / file
        path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    (copied / "heatproof/fresh.py").write_text('"""A module without a layer."""\n')
    done = linted(copied)
    output = re.sub(r"\s+", " ", done.stdout)
    assert done.returncode == 1
    assert [name for name in PLANTED if f"{name} BROKEN" not in output] == []
    assert [message for _, _, message in PLANTED.values() if message not in output] == []
    assert "fresh" in output


def test_the_public_list_names_existing_modules_once() -> None:
    assert CONTRACTS["public"]() == PUBLIC
    assert len(set(PUBLIC)) == len(PUBLIC)
    for name in PUBLIC:
        import_module(name)


def test_plugins_must_not_import_private_modules() -> None:
    private = list(CONTRACTS["private"]())
    samples = {"heatproof.plan.plan", "heatproof.registry", "heatproof.run.worker", "heatproof.network.views"}
    assert samples <= set(private)
    assert not [name for name in private if name in PUBLIC or f"{name}.".startswith(tuple(f"{p}." for p in PUBLIC))]
