"""Time to load and summarise 100,000 score rows: 1,000 cases of 500 patients, 20 combinations, 5 measures.

Run it with ``python docs/benchmarks/scores.py``. It writes a synthetic table and times the work of a report: read the
Parquet file, pivot it, and compute the value and interval of every combination and measure from 10,000 resamples of
patients. The aim is under 2 s.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heatproof.metric import Metric
from heatproof.registry.catalog import default
from heatproof.results.intervals import summarise_cases
from heatproof.results.parquet import SCORE_COLUMNS, connect, read_table
from heatproof.results.scores import COMBINATION_COLUMNS, ScoredCombination, cases_of

CASES = 1000
COMBINATIONS = 20
MEASURES = 5


def main() -> None:
    """Write the table, read and summarise it, and print the seconds."""
    metric = default().create("metric", "ecs", {"weights": {"lesion": 1.0}})
    assert isinstance(metric, Metric)
    settings = json.dumps(metric.describe(), sort_keys=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.parquet"
        write(path, settings)
        names = [f"c{number:02d}" for number in range(COMBINATIONS)]
        labels = [dict.fromkeys(COMBINATION_COLUMNS, "") | {"combination": name} for name in names]
        start = time.perf_counter()
        tables = cases_of(read_table(path), [ScoredCombination(label, metric, "ecs", (), False) for label in labels])
        loaded = time.perf_counter()
        summaries = [
            summarise_cases(metric.summarise, table.values, table.patients, 10_000, 0.95, 0) for table in tables
        ]
        end = time.perf_counter()
    rows = sum(len(values) for table in tables for values in table.values.values())
    assert rows == CASES * COMBINATIONS * MEASURES
    assert all(len(summary) == MEASURES for summary in summaries)
    print(
        f"{rows} rows: loaded in {loaded - start:.2f} s, summarised in {end - loaded:.2f} s, {end - start:.2f} s in all"
    )


def write(path: Path, settings: str) -> None:
    """Write a synthetic table of random values in the order of a run's table."""
    rng = np.random.default_rng(0)
    count = CASES * COMBINATIONS * MEASURES
    data = {name: np.full(count, "", dtype=object) for name in (*COMBINATION_COLUMNS, *SCORE_COLUMNS)}
    number = np.arange(count)
    case = number % CASES
    data["combination"] = labelled("c{:02d}", number // (CASES * MEASURES))
    data["measure"] = labelled("m{}", number // CASES % MEASURES)
    data["case"] = labelled("case{:04d}", case)
    data["patient"] = labelled("patient{:04d}", case // 2)
    data["metric_settings"][:] = settings
    data["status"][:] = "valid"
    data["value"] = rng.random(count)
    del data["array"], data["row"]
    with connect() as connection:
        connection.execute(f"copy (select *, null::double[] as array, 0 as row from data) to '{path}' (format parquet)")


def labelled(template: str, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
    """The numbers as texts."""
    texts = [template.format(number) for number in numbers.tolist()]
    return np.array(texts, dtype=object)


if __name__ == "__main__":
    main()
