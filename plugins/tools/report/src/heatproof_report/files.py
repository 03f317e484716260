"""The files beside a page: every chart and every example as SVG, PDF and PNG, every table as CSV and LaTeX."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from heatproof.digests import digest
from heatproof.errors import HeatproofError
from heatproof.results.tabular import as_csv, as_latex

from .board import Board
from .cases import Gallery, methods_by_rank
from .figures import case_figure, ranking_figure, save_all
from .layers import layers
from .paths import Shortened

LONGEST = 80
"""The most characters of a file's name."""
SIDE = 256
"""The most pixels of a panel's side in the figures beside a page; ``heatproof figure`` draws all pixels."""
NAMES = {
    "value": "Value", "group": "Group", "low": "Low", "high": "High", "difference_to_random": "Δ random",
    "n_valid": "Cases", "n_patients": "Patients",
}  # fmt: skip


def file_name(*parts: str) -> str:
    """A name for a file that is the same for the same parts, and different for different ones, on every system."""
    text = "-".join(filter(None, parts))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._")[:LONGEST]
    if plain == text:
        return plain
    return f"{plain}-{digest(list(parts))[:8]}"


def write_figures(folder: Path, ranked: Sequence[Board], shown: Sequence[Gallery]) -> list[str]:
    """Write the figures of the rankings and of the examples, each case once; returns why some are missing."""
    folder.mkdir()
    for board in ranked:
        if board.valued:
            save_all(ranking_figure([board]), folder, file_name("ranking", board.dataset, board.split, board.metric))
    problems = []
    written: set[str] = set()
    for gallery in shown:
        for example in [example for group in gallery.groups.values() for example in group]:
            collection = gallery.collection
            name = file_name("case", collection.dataset, collection.split, collection.model, example.case)
            if name in written or example.image is None:
                continue
            written.add(name)
            try:
                row = layers(collection, example.case, methods_by_rank(ranked, collection))
                save_all(case_figure([row], side=SIDE), folder, name)
            except HeatproofError as error:
                problems.append(f"the figure of case {example.case} is missing: {error}")
    return problems


def write_tables(folder: Path, ranked: Sequence[Board], shortened: Shortened) -> None:
    """Write each ranking and its pairs as CSV and LaTeX."""
    folder.mkdir()
    for board in ranked:
        name = file_name(board.dataset, board.split, board.metric)
        for table, rows in (("ranking", ranking_rows(board)), ("pairs", pair_rows(board))):
            rows = [[shortened(cell) for cell in row] for row in rows]
            path = folder / f"{table}-{name}"
            path.with_name(f"{path.name}.csv").write_text(as_csv(rows), encoding="utf-8")
            path.with_name(f"{path.name}.tex").write_text(as_latex(rows), encoding="utf-8")


def ranking_rows(board: Board) -> list[list[Any]]:
    """The head and the rows of a ranking: names as in tables, values, groups, intervals and counts."""
    p = f"p_random_{board.correction}"
    head = ["Combination", *NAMES.values(), f"p ({board.correction})", "Verdict"]
    rows = [
        [entry.name, *({**entry.row, "group": board.groups.get(entry.row["combination"], "")}[name] for name in NAMES),
         entry.row[p], entry.row["verdict"]]
        for entry in board.entries
    ]  # fmt: skip
    return [head, *rows]


def pair_rows(board: Board) -> list[list[Any]]:
    """The head and the rows of the pairwise comparisons."""
    names = ["a", "b", "difference", "low", "high", f"p_{board.correction}", "win_share", "n_cases", "n_patients"]
    p = f"p ({board.correction})"
    head = ["First", "Second", "Difference", "Low", "High", p, "First wins", "Cases", "Patients"]
    return [head, *([row[name] for name in names] for row in board.pairs)]
