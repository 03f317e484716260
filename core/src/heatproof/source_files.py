"""The files of code that no released distribution contains: a package or a lone file, and what these import.

Code below ``site-packages`` and in the standard library is *released*. Nothing is imported to find files, so the
digests are the same in every process.
"""

import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .digests import digest

IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b|import[ \t]+(\w[\w., \t]*))", re.MULTILINE)
LIBRARY = tuple({os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")})
PACKAGES = {"site-packages", "dist-packages"}


class Text(NamedTuple):
    """A file of code or beside it: size, times and inode when it was read, the digest of its content, its imports."""

    stamp: tuple[int, ...]
    digest: str
    names: frozenset[str]


class Tree(NamedTuple):
    """The code below a root and the files beside it: digest, imported names, times of last change and reading (ns)."""

    digest: str
    names: frozenset[str]
    changed: int
    read: int


_texts: dict[str, Text] = {}
_trees: dict[Path, Tree] = {}
_joined: dict[Path, Tree] = {}
_released_names: set[str] = set()


def refresh() -> None:
    """Look for edited files again when the next digest is asked for."""
    _trees.clear()
    _joined.clear()


def file_of(module: str) -> str:
    """The file of a loaded module; empty if it has none."""
    path = getattr(sys.modules.get(module), "__file__", None) or ""
    return real(path) if os.path.isfile(path) else ""


@lru_cache(maxsize=4096)
def real(path: str) -> str:
    """A path with the links of its folder resolved: some editable installs link a folder into ``site-packages``."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


@lru_cache(maxsize=4096)
def is_released(path: str) -> bool:
    """Whether a file or folder belongs to an installed distribution or to the standard library."""
    absolute = path and real(path)
    return absolute.startswith(LIBRARY) or not PACKAGES.isdisjoint(absolute.split(os.sep))


def tree_with_imports(file: str, defined: int = 0) -> Tree:
    """The tree of a file with those of all unreleased code that it imports, directly or not, as one.

    It is read again if the code that asks was ``defined`` (ns) after the last reading.
    """
    root = _root(Path(file))
    if root not in _joined or _joined[root].read < defined:
        trees = {}
        todo = [root]
        while todo:
            path = todo.pop()
            if path not in trees:
                trees[path] = _tree(path, defined)
                todo += [other for name in trees[path].names for other in _imported(name, path)]
        content = digest(sorted(tree.digest for tree in trees.values()))
        changed = max(tree.changed for tree in trees.values())
        _joined[root] = Tree(content, frozenset(), changed, min(tree.read for tree in trees.values()))
    return _joined[root]


def imported(name: str) -> list[Path]:
    """The roots of a package or module that is imported by this name; none if it is released or cannot be found."""
    if name in sys.stdlib_module_names or name in _released_names:
        return []
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    paths = list(spec.submodule_search_locations or [])
    if spec.origin and os.path.isfile(spec.origin):
        paths = [str(_root(Path(real(spec.origin))))]
    roots = [Path(path) for path in paths if not is_released(path)]
    if not roots:
        _released_names.add(name)
    return roots


def _imported(name: str, root: Path) -> list[Path]:
    """As ``imported``; an empty name is an import relative to a file that is in no package."""
    if name:
        return imported(name)
    return [root.parent] if root.is_file() else []


@lru_cache(maxsize=4096)
def _root(file: Path) -> Path:
    """The folder of the top-level package of a file, or the file itself."""
    root = file
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    return root


def _tree(root: Path, defined: int) -> Tree:
    if root not in _trees or _trees[root].read < defined:
        now = time.time_ns()
        texts = {path.relative_to(root.parent).as_posix(): _text(str(path)) for path in _paths(root)}
        content = digest({name: text.digest for name, text in texts.items()})
        names = frozenset().union(*(text.names for text in texts.values()))
        changed = max((max(text.stamp[1:3]) for text in texts.values()), default=0)
        _trees[root] = Tree(content, names, changed, now)
    return _trees[root]


def _paths(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in PACKAGES and not name.startswith((".", "__pycache__"))]
        if any(name.endswith(".py") for name in names):  # other folders may hold data, or what runs write
            yield from (Path(folder, name) for name in names if not name.startswith("."))


def _text(path: str) -> Text:
    """A file of code, read only if it changed."""
    state = os.stat(path)
    stamp = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    if path not in _texts or _texts[path].stamp != stamp:
        content = Path(path).read_bytes()
        lines = [single or several for single, several in IMPORT.findall(content if path.endswith(".py") else b"")]
        words = [part.split()[0].decode() for line in lines for part in line.split(b",") if part.strip()]
        names = frozenset(word.partition(".")[0] for word in words)
        _texts[path] = Text(stamp, hashlib.blake2b(content, digest_size=16).hexdigest(), names)
    return _texts[path]
