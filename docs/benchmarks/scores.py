"""How long 100,000 score rows take to load and summarise: 1,000 cases of 500 patients, 20 combinations, 5 measures.

Run it with ``python docs/benchmarks/scores.py``. It writes a synthetic table, then times what a report does: read the
Parquet file, pivot it, and give every combination and measure its value and interval from 10,000 patient-clustered
resamples. The aim is under 2 s.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np

from heatproof.registry.catalog import default
from heatproof.results.intervals import summarise_cases
from heatproof.results.parquet import SCORE_COLUMNS, connect, read_table
from heatproof.results.scores import COMBINATION_COLUMNS, ScoredCombination, cases_of

CASES, COMBINATIONS, MEASURES = 1000, 20, 5


def main() -> None:
    """Write the table, read and summarise it, print the seconds."""
    metric = default().create("metric", "ecs", {"weights": {"lesion": 1.0}})
    settings = json.dumps(metric.describe(), sort_keys=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"
        write(path, settings)
        places = [
            dict.fromkeys(COMBINATION_COLUMNS, "") | {"combination": f"c{number:02d}"} for number in range(COMBINATIONS)
        ]
        start = time.perf_counter()
        cases = cases_of(read_table(path), [ScoredCombination(place, metric, "ecs", (), False) for place in places])
        loaded = time.perf_counter()
        made = [summarise_cases(metric.summarise, each.values, each.patients, 10_000, 0.95, 0) for each in cases]
        end = time.perf_counter()
    rows = sum(len(values) for each in cases for values in each.values.values())
    assert rows == CASES * COMBINATIONS * MEASURES
    assert all(len(each) == MEASURES for each in made)
    print(
        f"{rows} rows: loaded in {loaded - start:.2f} s, summarised in {end - loaded:.2f} s, {end - start:.2f} s in all"
    )


def write(path: Path, settings: str) -> None:
    """A synthetic table with random values, sorted as the runner sorts it."""
    generator = np.random.default_rng(0)
    count = CASES * COMBINATIONS * MEASURES
    data = {name: np.full(count, "", dtype=object) for name in (*COMBINATION_COLUMNS, *SCORE_COLUMNS)}
    number = np.arange(count)
    case = number % CASES
    data["combination"] = np.array([f"c{place:02d}" for place in range(COMBINATIONS)], object)[
        number // (CASES * MEASURES)
    ]
    data["measure"] = np.array([f"m{place}" for place in range(MEASURES)], object)[number // CASES % MEASURES]
    data["case"] = np.array([f"case{place:04d}" for place in range(CASES)], object)[case]
    data["patient"] = np.array([f"patient{place // 2:04d}" for place in range(CASES)], object)[case]
    data["metric_settings"][:] = settings
    data["status"][:] = "valid"
    data["value"] = generator.random(count)
    del data["array"], data["row"]
    with connect() as connection:
        connection.execute(f"copy (select *, null::double[] as array, 0 as row from data) to '{path}' (format parquet)")


if __name__ == "__main__":
    main()
