"""Counts habits that make code hard to read and compares them with limits: ``python .ci/habits.py [--list] [PATHS]``.

It counts the functions that bind a role word, which is a name that does not say what a value is (``found``, ``one``),
the assignments that pack several computed values into one line, the conditional expressions, and the lines of the
longest function. The limits apply to sources and to tests separately. ``--list`` prints every spot.
"""

import argparse
import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROLE_WORDS = frozenset((
    "found", "made", "place", "places", "own", "kept", "told", "wanted", "each", "one", "ones", "given", "held",
    "asked", "taken", "said", "gone", "meant", "seen", "here", "there", "what", "chosen",
))  # fmt: skip
"""Names that say what happened to a value, or only that it exists, instead of what it is."""
ROLE_SHARE = 0.03
"""The largest share of functions that may bind a role word."""
PACKED = 2.0
"""The largest number of packed assignments per 1,000 lines."""
CONDITIONAL = 10.0
"""The largest number of conditional expressions per 1,000 lines."""
LONGEST = 40
"""Every function must have fewer lines than this."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Spot:
    """A line with a habit, and the code or names that show it."""

    path: Path
    line: int
    habit: str
    text: str


@dataclass(frozen=True)
class Counts:
    """The counts of some files: lines that are not blank, functions, lines of the longest function, and the spots."""

    lines: int
    functions: int
    longest: int
    spots: Sequence[Spot]

    def number(self, habit: str) -> int:
        """The number of spots of one habit."""
        return sum(spot.habit == habit for spot in self.spots)

    def excesses(self) -> list[str]:
        """A sentence for each limit that is exceeded."""
        role = self.number("role word") / max(1, self.functions)
        packed = 1000 * self.number("packed") / max(1, self.lines)
        conditional = 1000 * self.number("conditional") / max(1, self.lines)
        limits = [
            (role <= ROLE_SHARE, f"{role:.1%} of functions bind a role word, at most {ROLE_SHARE:.0%} may"),
            (packed <= PACKED, f"{packed:.1f} packed assignments per 1,000 lines, at most {PACKED:g} may be"),
            (conditional <= CONDITIONAL, f"{conditional:.1f} conditional expressions per 1,000 lines, at most "
                                         f"{CONDITIONAL:g} may be"),
            (self.longest < LONGEST, f"a function has {self.longest} lines, fewer than {LONGEST} may be"),
        ]  # fmt: skip
        return [sentence for within, sentence in limits if not within]


def counted(paths: Sequence[Path]) -> Counts:
    """The counts of these files."""
    lines = 0
    functions: list[Function] = []
    spots: list[Spot] = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        lines += sum(bool(line.strip()) for line in text.splitlines())
        functions += [node for node in ast.walk(tree) if isinstance(node, Function)]
        spots += _spots(path, tree)
    return Counts(lines, len(functions), max(map(_length, functions), default=0), spots)


def _spots(path: Path, tree: ast.Module) -> Iterator[Spot]:
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp):
            yield Spot(path, node.lineno, "conditional", ast.unparse(node))
        elif isinstance(node, ast.Assign) and _packs(node):
            yield Spot(path, node.lineno, "packed", ast.unparse(node))
        elif isinstance(node, Function):
            words = sorted(ROLE_WORDS.intersection(_bound(node)))
            if words:
                yield Spot(path, node.lineno, "role word", f"{node.name} binds {', '.join(words)}")


def _packs(node: ast.Assign) -> bool:
    """Whether an assignment packs several values; ``a, b = b, a`` and unpacking one call do not."""
    target = node.targets[0]
    if not isinstance(target, ast.Tuple) or not isinstance(node.value, ast.Tuple):
        return False
    return {ast.unparse(item) for item in target.elts} != {ast.unparse(item) for item in node.value.elts}


def _bound(function: Function) -> Iterator[str]:
    """The names that a function binds: parameters and targets of assignments, loops and comprehensions."""
    nodes: list[ast.AST] = [function.args, *function.body]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        if not isinstance(node, Function):  # a nested function counts by itself
            nodes.extend(ast.iter_child_nodes(node))


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _tracked() -> list[Path]:
    """The Python files of the repository."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def main() -> int:
    """Print the counts of sources and of tests and return 1 if a limit is exceeded, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="print every spot")
    parser.add_argument("paths", nargs="*", type=Path, help="files and folders; all of the repository by default")
    arguments = parser.parse_args()
    folders = [path.resolve() for path in arguments.paths] or [ROOT]
    paths = [path for path in _tracked() if any(path.is_relative_to(folder) for folder in folders)]
    failed = False
    for name, in_tests in (("sources", False), ("tests", True)):
        counts = counted([path for path in paths if ("tests" in path.relative_to(ROOT).parts) == in_tests])
        if arguments.list:
            for spot in counts.spots:
                print(f"{spot.path.relative_to(ROOT)}:{spot.line}: {spot.habit}: {spot.text}")
        print(f"{name}: {counts.lines} lines, {counts.functions} functions, longest {counts.longest}, "
              f"{counts.number('role word')} with role words, {counts.number('packed')} packed assignments, "
              f"{counts.number('conditional')} conditional expressions")  # fmt: skip
        for sentence in counts.excesses():
            print(f"  {name}: {sentence}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
