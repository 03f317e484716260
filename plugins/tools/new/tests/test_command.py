"""What the command prints can be typed as it stands."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_what_new_prints_installs_and_checks_from_any_folder(tmp_path: Path) -> None:
    folder, site = tmp_path / "my plugins/heatproof-my-method", tmp_path / "site"
    script = Path(sys.executable).parent / "heatproof"
    words = ["new", "metric", "my_method", "--into", "my plugins"]
    done = subprocess.run([script, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
    _, install, check = map(shlex.split, done.stdout.splitlines())
    assert install[-2:] == ["-e", str(folder)]
    offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(site), str(folder)]
    subprocess.run([*install[:-2], *offline], cwd="/", check=True)  # beside the environment, which stays as it is
    environment = {**os.environ, "PYTHONPATH": str(site)}
    checked = subprocess.run(check, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "my_method passes" in checked.stdout
