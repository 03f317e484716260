"""Flips single bits in a run's folder and checks that no number changes silently: ``python docs/robustness/flips.py``.

It makes a small synthetic run. Then, for each flip, it changes one bit of one file. For every second flip the file is
drawn uniformly from all files, for the others in proportion to its size. Everything is read back as a report does, and
the same config is run again; with another metric if the bit is in a heatmap, so that the heatmap is read. What is read
must be equal to what was read before, or an error must name the damage. After the run, every table must have the same
bytes as before. The folder is restored before the next flip.

The program prints a table by kind of file. A flip is *refused* if an error named the damage when it was read,
*repaired* if the next run computed the unit or filled the settings again and said so, *harmless* if neither happened,
and *silent* if anything else was read or written. It returns 1 if there is any silent one.
"""

import argparse
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from heatproof.batch import Batch
from heatproof.config.settings import DatasetEntry, RunConfig
from heatproof.errors import HeatproofError
from heatproof.records import Explanation
from heatproof.registry.catalog import Catalog
from heatproof.registry.discovery import discover
from heatproof.results.finished import Results
from heatproof.results.store import KINDS, Run
from heatproof.run.runner import run
from heatproof.testing.toys import Blobs, Linear, Regions, Slope
from heatproof_report.board import boards
from heatproof_report.cases import galleries
from heatproof_report.collection import collections

FOLDER_TABLES = ("scores.parquet", "summary.csv", "comparisons.csv", "ranks.csv", "splits.csv", "skipped.json")
TABLES = (*FOLDER_TABLES, "provenance.json", "config.yaml", "selection.yaml")
OUTCOMES = ("refused", "repaired", "harmless", "silent")
DAMAGED = ("is damaged", "was damaged", "or damaged")
"""How messages say that a file was damaged."""


class Parts(Slope):
    """Slope with an array beside each heatmap."""

    def explain(self, batch: Batch) -> Explanation:  # type: ignore[override]
        """The heatmaps, and the first pixels of each as the array ``parts``."""
        values = super().explain(batch)
        return Explanation(values, kept={"parts": values[:, :1, :2]})


def settings(folder: Path, catalog: Catalog, *metrics: str) -> RunConfig:
    """A small config with everything that a run stores: two networks, a kept array, filled settings."""
    return RunConfig.model_validate({
        "output": folder, "device": "cpu", "threads": 1, "rows": 4, "chunk": 4, "cache": False,
        "datasets": [DatasetEntry(component=Blobs(), split="test")], "models": [Regions(), Linear()],
        "explainers": [Slope(), Parts()], "statistics": {"resamples": 20, "permutations": 20},
        "metrics": [catalog.create("metric", name, {}) for name in ("ecs", "grading", *metrics)],
    })  # fmt: skip


def readings(folder: Path, catalog: Catalog) -> Iterator[tuple[str, Callable[[], object]]]:
    """Name and function of everything that is read from a folder: the tables and every unit."""
    store = Run(folder)
    yield "results", partial(shown, folder, catalog)
    yield "splits", partial(store.read, "splits.csv")
    for kind in KINDS:
        for key in sorted(store.keys(kind)):
            yield f"{kind} {key}", partial(store.meta, kind, key)
            if kind in ("predictions", "scores"):
                yield f"rows of {kind} {key}", partial(store.table, kind, key)
            if kind == "heatmaps":
                yield f"maps {key}", partial(arrays, store, key)


def shown(folder: Path, catalog: Catalog) -> list[object]:
    """What a page shows of a run, or says is missing: tables, settings and examples."""
    results = Results(folder, catalog)
    plain = {
        name: value
        for name, value in vars(results).items()
        if name not in ("run", "catalog", "parts", "_components", "_verified")
    }
    collected = collections(results)
    examples = [list(map(vars, group)) for board in boards(results) for gallery in galleries(results, board, collected)
                for group in gallery.groups.values()]  # fmt: skip
    return [plain, results.selection, results.query("from scores"), examples]


def arrays(store: Run, key: str) -> list[object]:
    """The maps of a unit, and the arrays that an explainer kept of each case."""
    maps = store.maps(key)
    return [maps.tobytes(), *(store.kept(key, row) for row in range(len(maps)))]


def read_back(folder: Path, catalog: Catalog) -> dict[str, str]:
    """Everything that is read from a folder as text; where it is refused, the message, which names the damage."""
    texts: dict[str, str] = {}
    for name, read in readings(folder, catalog):
        try:
            texts[name] = repr(read())
        except HeatproofError as error:
            texts[name] = f"{error}"
    return texts


def without_pages() -> Catalog:
    """The catalog of the installed plugins but for the report, as a page per run takes most of the time."""
    announcements, _ = discover()
    return Catalog([entry for entry in announcements if entry.target != "heatproof_report"])


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file by its path within the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def restore(folder: Path, files: dict[str, bytes]) -> None:
    """Give a folder these files and no others."""
    present = contents(folder)
    for name in present.keys() - files.keys():
        path = folder / name
        if path.parent.parent.parent == folder:  # of a unit that the last run has added
            shutil.rmtree(path.parent, ignore_errors=True)
        path.unlink(missing_ok=True)
    for name, content in files.items():
        if present.get(name) != content:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def kind_of(name: str) -> str:
    """The kind of a file: folder and file name without keys and numbers."""
    parts = name.split("/")
    if len(parts) == 1:
        return name
    return f"{parts[0]}/…/{parts[-1] if parts[-1].endswith(('.json', '.parquet')) else 'chunk'}"


@dataclass
class Trial:
    """A run whose folder is damaged, with everything that is known of it when it is not."""

    folder: Path
    catalog: Catalog

    def __post_init__(self) -> None:
        self.repeat()
        self.files = contents(self.folder)
        self.texts = read_back(self.folder, self.catalog)
        self.repeat("pointing")
        self.tables = {"": self.files, "pointing": contents(self.folder)}
        restore(self.folder, self.files)

    def repeat(self, *metrics: str) -> None:
        """Run the config once more."""
        run(settings(self.folder, self.catalog, *metrics), self.catalog)

    def drawn(self, draw: random.Random, by_size: bool) -> tuple[str, int]:
        """A file and a bit of it."""
        sizes = {name: len(content) for name, content in self.files.items() if content}
        (name,) = draw.choices([*sizes], [*sizes.values()] if by_size else None)
        return name, draw.randrange(8 * sizes[name])

    def outcome(self, name: str, bit: int) -> set[str]:
        """Flip a bit, read everything, run again, and restore the folder."""
        content = bytearray(self.files[name])
        content[bit // 8] ^= 1 << bit % 8
        (self.folder / name).write_bytes(content)
        outcomes: set[str] = set()
        for reading, text in read_back(self.folder, self.catalog).items():
            if text != self.texts[reading]:
                outcomes.add("refused" if any(phrase in text for phrase in DAMAGED) else "silent")
        metric = "pointing" if name.startswith("heatmaps/") else ""
        self.repeat(*filter(None, [metric]))
        log = (self.folder / "log.txt").read_bytes()[len(self.files["log.txt"]) :].decode()
        if any(phrase in log for phrase in DAMAGED):
            outcomes.add("repaired")
        after = contents(self.folder)
        if any(after[table] != self.tables[metric][table] for table in TABLES):
            outcomes.add("silent")
        restore(self.folder, self.files)
        return outcomes or {"harmless"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Flip the bits, print the outcomes by kind of file, and return 1 if a flip was silent."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    flips: Counter[str] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "run", without_pages())
        for number in range(options.flips):
            draw = random.Random(f"{options.seed} {number}")
            name, bit = trial.drawn(draw, by_size=number % 2 == 1)
            outcomes = trial.outcome(name, bit)
            for kind in (kind_of(name), "all"):
                flips[kind] += 1
                counts.update((kind, outcome) for outcome in outcomes)
            if "silent" in outcomes:
                print(f"SILENT: bit {bit} of {name}")
    print(f"{'file':<34} {'flips':>6} " + " ".join(f"{outcome:>9}" for outcome in OUTCOMES))
    for kind in sorted(flips, key=lambda kind: (kind == "all", kind)):
        print(f"{kind:<34} {flips[kind]:>6} " + " ".join(f"{counts[kind, outcome]:>9}" for outcome in OUTCOMES))
    return int(counts["all", "silent"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
