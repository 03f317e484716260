"""Measures the page of a run of 500 synthetic images and ten methods: its bytes, and the seconds of each part.

``python docs/benchmarks/report.py FOLDER [PATIENTS]`` runs into FOLDER, or continues, and writes the page. Of 1,250
patients, 250 are test patients with two images each.
"""

import sys
import time
from pathlib import Path

from heatproof.config.settings import from_plain
from heatproof.registry.catalog import default
from heatproof.results.finished import Results
from heatproof.run.runner import run
from heatproof_report.page import write_page

METHODS = (
    "gradient", "input_x_gradient", "gradcam", "gradcam_plus_plus", "guided_backprop", "deconvnet", "cam",
    "input_edges", "centre", "random",
)  # fmt: skip


def config(folder: Path, patients: int) -> dict[str, object]:
    """The settings of the run, with few resamples: statistics are not measured here."""
    return {
        "output": str(folder), "datasets": [{"use": "phantom", "split": "test", "patients": patients, "height": 448}],
        "models": ["lesionnet"], "explainers": list(METHODS), "metrics": ["pointing", "relevance_mass"],
        "device": "cpu",
        "statistics": {"resamples": 200, "permutations": 200},
    }  # fmt: skip


def main(folder: Path, patients: int = 1250) -> None:
    """Run, write the page, and print bytes and seconds."""
    started = time.perf_counter()
    run(from_plain(config(folder, patients), default()), default())
    print(f"run: {time.perf_counter() - started:.0f} s")
    started = time.process_time()
    page = write_page(Results(folder, default()))
    beside = sum(path.stat().st_size for path in (folder / "report").rglob("*") if path.is_file())
    print(
        f"page: {page.stat().st_size:,} bytes, {beside:,} bytes beside it, {time.process_time() - started:.0f} s of CPU"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
