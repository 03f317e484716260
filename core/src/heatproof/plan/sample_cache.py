"""Prepared samples on disk: what was decoded and put on a grid once is read back, to the bit, by its content key."""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ..component import Component
from ..dataset import Dataset
from ..digests import digest, file_digest, requirements, versions_digest
from ..errors import ConfigError
from ..imaging.original import original_image
from ..imaging.reader import PREFERRED, registered
from ..model import Model
from ..records import Sample
from .sample_file import DAMAGES, PreparedSample, Unstorable, packed, unpacked

GIGABYTE = 1e9
LIMIT = 20.0
"""How many gigabytes the samples may take where nothing else is said."""
FULL = 0.9
"""To which share of the limit the least recently used samples are removed, so that it is not done every time."""
LOOK = 64
"""The size is looked at when a process writes its first sample, and after so many more."""
SUFFIX = ".sample"


@dataclass(frozen=True)
class Cache:
    """Where prepared samples are kept, None for nowhere, and how many gigabytes they may take."""

    folder: Path | None = None
    limit: float = LIMIT


NOWHERE = Cache()


class Prepared:
    """The prepared samples in one folder, shared by all processes that use it.

    A sample's key names the dataset and where it lies, the id, what the model's preparation depends on, the source of
    all packages that take part, readers and kits among them, and the versions of what these ask for. It is made anew
    when a file that its geometry or annotations name has changed, or when its own file is damaged. What keeps the cache
    from working is told in ``messages`` and never raised.
    """

    def __init__(self, cache: Cache):
        self.folder, self.limit = cache.folder, cache.limit * GIGABYTE
        self.messages: list[str] = []
        self._said: set[str] = set()
        self._writes, self._written = True, 0

    def sample(self, dataset: Dataset, model: Model, id: str) -> Sample:
        """The sample of this id as the model prepares it; raises what loading and preparing raise."""
        key = self.keys(dataset, model, [id]).get(id)
        stored = self.stored(key) if key else None
        if stored is not None:
            return stored.sample
        native = dataset.load(id)
        sample = model.prepare(native)
        if self.folder and key and self._writes:
            self._write(self.folder / f"{key}{SUFFIX}", native, sample)
        return sample

    def keys(self, dataset: Dataset, model: Model, ids: Sequence[str]) -> dict[str, str]:
        """Id → the key of its sample, for those that are kept at all."""
        keys = {id: content_key(dataset, model, id) for id in ids} if self.folder else {}
        return {id: key for id, key in keys.items() if key is not None}

    def stored(self, key: str) -> PreparedSample | None:
        """What is kept under a key; None where there is nothing, or nothing that still holds."""
        if self.folder is None:
            return None
        path = self.folder / f"{key}{SUFFIX}"
        try:
            stored, stamps = unpacked(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._say(f"prepared samples in {path.parent} cannot be read ({error.strerror or error})")
            return None
        except DAMAGES as error:
            self.messages.append(f"the prepared sample {path} is damaged ({error}); it is made anew")
            return None
        if stamps != _stamps(stored.sample):
            return None
        with suppress(OSError):
            # Another process may have removed it; in a read-only folder nothing is removed by age.
            os.utime(path)
        return stored

    def told(self) -> list[str]:
        """What is to be logged since the last time."""
        messages, self.messages = self.messages, []
        return messages

    def _write(self, path: Path, native: Sample, sample: Sample) -> None:
        """Keep a sample by one rename; after the first one that the disk refuses nothing more is kept."""
        try:
            image = original_image(native, sample)
        except Exception as error:
            self._say(f"some prepared samples are not kept: the original image cannot be drawn ({error!r})")
            return
        try:
            _replace(path, packed(PreparedSample(sample, image), _stamps(sample)))
            self._written += 1
            if self._written % LOOK == 1:
                prune(path.parent, self.limit)
        except Unstorable as error:
            self._say(f"some prepared samples are not kept: {error}")
        except OSError as error:
            self._writes = False
            self._say(f"prepared samples are not kept: {path.parent} cannot be written ({error.strerror or error})")

    def _say(self, text: str) -> None:
        """Say something, but only once."""
        if text not in self._said:
            self._said.add(text)
            self.messages.append(text)


@lru_cache(maxsize=8)
def prepared(cache: Cache) -> Prepared:
    """The samples of a cache, the same for all who ask in this process."""
    return Prepared(cache)


def default_folder() -> Path | None:
    """The user's folder: ``$HEATPROOF_CACHE``, else where the system keeps caches; None for a user without a home."""
    try:
        base = os.environ.get("HEATPROOF_CACHE") or user_cache_path("heatproof", appauthor=False)
    except RuntimeError:
        return None
    return Path(base, "prepared").absolute()


def configured(place: Path | bool, limit: float | None = None) -> Cache:
    """The cache that a config's ``cache`` and ``cache_limit`` stand for: a folder, the user's (true), or none (false).

    Raises ``ConfigError`` when ``$HEATPROOF_CACHE_LIMIT``, which holds where there is no limit, is no number.
    """
    said = os.environ.get("HEATPROOF_CACHE_LIMIT") or LIMIT
    try:
        limit = limit or float(said)
    except ValueError:
        raise ConfigError(f"HEATPROOF_CACHE_LIMIT is {said!r}; set it to a number of gigabytes, such as 20.") from None
    return Cache(place if isinstance(place, Path) else default_folder() if place else None, limit)


def content_key(dataset: Dataset, model: Model, id: str) -> str | None:
    """The digest of all that a prepared sample depends on; None where its parts cannot tell.

    A dataset made in Python that draws on more than its Params says so by ``content``, or lies in a folder.
    """
    told = dataset.synthetic or dataset.root() is not None or type(dataset).content is not Dataset.content
    # A model that prepares in its own way may depend on all that it is.
    own = type(model).prepare is not Model.prepare or model.preparation is None
    place: Component = model if own or model.preparation is None else model.preparation
    # Of the readers none is known to take part before a file is opened.
    modules = _modules([dataset, place]).union(*(_class_modules(reader) for _, reader in registered()))
    sources = [_source(module) for module in sorted(modules)]
    if not told or None in sources:
        return None
    # The identity leaves out where folders lie, and a download may have two.
    parts = [dataset.identity, dataset.describe(), str(dataset.root()), id, place.identity, sources]
    return digest([*parts, os.environ.get(PREFERRED, "")])


def _modules(value: Any) -> set[str]:
    """The modules that bring the classes of components, and of those in their Params."""
    if isinstance(value, Component):
        return _class_modules(type(value)) | _modules(dict(value.params))
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return set().union(*map(_modules, entries))


def _class_modules(component: type[Component]) -> set[str]:
    return {base.__module__ for base in component.__mro__} - {"builtins", "abc", "typing"}


@lru_cache(maxsize=256)
def _source(module: str) -> str | None:
    """The digest of the package that a module belongs to and its kits, or of its file; None where there is no file."""
    top = module.partition(".")[0]
    package = Path(getattr(sys.modules.get(top), "__file__", None) or "")
    path = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    if not path.is_file():
        return None
    files = sorted(package.parent.rglob("*.py")) if package.name == "__init__.py" else [path]
    kits = [name.replace("-", "_") for name in requirements(top) if name.startswith("heatproof-")]
    beneath = [_source(import_module(kit).__name__) for kit in kits if find_spec(kit)]
    return digest([versions_digest(top), *map(file_digest, files), *beneath])


def _stamps(sample: Sample) -> dict[str, list[int]]:
    """Size and time of change of the files that a sample names as its sources, in sum for a folder and its files."""
    named = {sample.geometry.source if sample.geometry else "", *(mark.source for mark in sample.annotations)}
    found = {}
    for name in sorted(named - {""}):
        # Not every source is a file.
        with suppress(OSError, ValueError):
            states = [path.stat() for path in (Path(name), *Path(name).glob("*"))]
            found[name] = [sum(state.st_size for state in states), sum(state.st_mtime_ns for state in states)]
    return found


def prune(folder: Path, limit: float) -> None:
    """Remove the least recently used samples of a folder that takes more than ``limit`` bytes."""
    states = []
    for entry in os.scandir(folder):
        # Another process may be pruning too.
        with suppress(FileNotFoundError):
            states.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    total = sum(size for _, size, _ in states)
    target = FULL * limit if total > limit else total
    for _, size, path in sorted(states):
        if total <= target:
            return
        if path.endswith(SUFFIX):
            Path(path).unlink(missing_ok=True)
            total -= size


def _replace(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, in one step; one that another process wrote meanwhile may stay."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=SUFFIX)
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
