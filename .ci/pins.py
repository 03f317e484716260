"""Rewrites the pinned versions in the root pyproject.toml from a fresh resolution of the workspace.

Run it with ``python .ci/pins.py``; it needs uv and the package index. The resolution happens in a copy, because a
``uv.lock`` names the hosts of the index and is never committed.
"""

import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"constraint-dependencies = \[\n.*?\n\]\n", re.DOTALL)
EXPORT = (
    "uv", "export", "--quiet", "--all-packages", "--all-groups", "--no-hashes", "--no-header", "--no-annotate",
    "--no-emit-workspace",
)  # fmt: skip


def copied(folder: Path) -> None:
    """Copy every pyproject.toml of the workspace without the present pins, with the sources that a build needs."""
    for source in [ROOT / "pyproject.toml", ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/*/pyproject.toml")]:
        target = folder / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(BLOCK.sub("constraint-dependencies = [\n]\n", source.read_text()))
        for package in source.parent.glob("src/*/__init__.py"):
            (target.parent / package.relative_to(source.parent).parent).mkdir(parents=True)
            (target.parent / package.relative_to(source.parent)).touch()
        (target.parent / "README.md").touch()


def resolved() -> list[str]:
    """The pinned requirements of a fresh resolution."""
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        return subprocess.run(EXPORT, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()


def main() -> None:
    """Rewrite the block in place."""
    pins = "\n".join(f'    "{requirement}",' for requirement in resolved())
    project = ROOT / "pyproject.toml"
    project.write_text(BLOCK.sub(lambda _: f"constraint-dependencies = [\n{pins}\n]\n", project.read_text()))


if __name__ == "__main__":
    main()
