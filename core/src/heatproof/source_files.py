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
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

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
    """The code below a root and the files beside it: digest, imported roots, times of last change and reading (ns)."""

    digest: str
    imports: frozenset[Path]
    changed: int
    read: int


_texts: dict[str, Text] = {}
_trees: dict[Path, Tree] = {}
classes: WeakKeyDictionary[type, str] = WeakKeyDictionary()
"""The digests of classes that were asked for since the last ``refresh``."""


def refresh() -> None:
    """Look for edited files and changed classes again when the next digest is asked for."""
    _trees.clear()
    classes.clear()
    imported.cache_clear()


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


def code_digest(file: str, defined: int = 0) -> str:
    """The digest of a file's tree and of all unreleased code that it imports, directly or not.

    For code that was ``defined`` (ns) before one of these files was edited, no other process gets this digest: the
    files are not what runs.
    """
    trees: dict[Path, Tree] = {}
    todo = {_root(Path(file))}
    while todo:
        trees |= {root: _tree(root, defined) for root in todo}
        todo = {root for tree in trees.values() for root in tree.imports} - set(trees)
    content = digest(sorted(tree.digest for tree in trees.values()))
    changed = max(tree.changed for tree in trees.values())
    return digest([content, defined]) if changed > defined > 0 else content


@cache
def imported(name: str) -> list[Path]:
    """The roots of a package or module that is imported by this name; none if it is released or cannot be found."""
    spec = None
    if name not in sys.stdlib_module_names:
        with suppress(ImportError, ValueError, AttributeError):
            spec = importlib.util.find_spec(name)
    if spec is None:
        return []
    paths = spec.submodule_search_locations or []
    if spec.origin and os.path.isfile(spec.origin):
        paths = [str(_root(Path(real(spec.origin))))]
    return [Path(path) for path in paths if not is_released(path)]


@lru_cache(maxsize=4096)
def _root(file: Path) -> Path:
    """The folder of the top-level package of a file, or the file itself."""
    root = file
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    return root


def _tree(root: Path, defined: int) -> Tree:
    """The tree of a root, read again if the code that asks was ``defined`` (ns) after the last reading."""
    if root not in _trees or _trees[root].read < defined:
        now = time.time_ns()
        texts = {path.relative_to(root.parent).as_posix(): _text(str(path)) for path in _paths(root)}
        content = digest({name: text.digest for name, text in texts.items()})
        names = frozenset[str]().union(*(text.names for text in texts.values()))
        imports = {other for name in names for other in imported(name)}
        if "" in names and root.is_file():  # relative to a file that is in no package
            imports.add(root.parent)
        changed = max((max(text.stamp[1:3]) for text in texts.values()), default=0)
        _trees[root] = Tree(content, frozenset(imports), changed, now)
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
