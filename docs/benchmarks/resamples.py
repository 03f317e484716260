"""Peak memory and time of intervals and tests: 10,000 resamples and permutations, four combinations, BCa intervals.

Run it with ``python docs/benchmarks/resamples.py [CASES …]``; by default with 1,000 cases and with the 53,576 images of
Kaggle's test set (two eyes per patient). Every number of cases has its own process. The aim is less than 1 GB above
the interpreter with its imports, whatever the number of cases.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from heatproof.metric import Metric
from heatproof.registry.catalog import default
from heatproof.results.scores import COMBINATION_COLUMNS, NAME_COLUMNS, Cases, ScoredCombination
from heatproof.results.summary import SummarySettings, results

COMBINATIONS = 4


def main(cases: int) -> None:
    """Compute the tables of synthetic scores, and print cases, resamples, peak memory and seconds."""
    metric = default().create("metric", "ecs", {"weights": {"lesion": 1.0}})
    assert isinstance(metric, Metric)
    settings = SummarySettings(seed=0, interval="bca")
    entries = [scores(metric, number, cases) for number in range(COMBINATIONS)]
    before = peak()
    start = time.perf_counter()
    tables = results(entries, settings)
    seconds = time.perf_counter() - start
    assert [len(table.rows) for table in tables.values()] == [COMBINATIONS, 6, COMBINATIONS - 1]
    print(f"cases {cases}, resamples {settings.resamples}, peak {peak() - before:.0f} MB, {seconds:.1f} s", flush=True)


def scores(metric: Metric, number: int, cases: int) -> Cases:
    """Random scores of one combination; the first is the random baseline of the others."""
    names = {name: "" for name in (*COMBINATION_COLUMNS, *NAME_COLUMNS)}
    columns = names | {"combination": str(number), "explainer": str(number)}
    ids = tuple(f"case {case:06}" for case in range(cases))
    patients = tuple(f"patient {case // 2:06}" for case in range(cases))
    values = {metric.primary: np.random.default_rng(number).random(cases)}
    statuses = {metric.primary: ["valid"] * cases}
    return Cases(ScoredCombination(columns, metric, "ecs", (), number == 0), ids, patients, values, statuses)


def peak() -> float:
    """The largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(int(sys.argv[1]))
    else:
        for cases in sys.argv[1:] or ("1000", "53576"):
            subprocess.run([sys.executable, __file__, cases], check=True)
