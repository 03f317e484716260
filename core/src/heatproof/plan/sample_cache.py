"""The cache of prepared samples: a decoded and prepared sample is read back from disk, bit for bit, by its key."""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ..component import Component
from ..containment import contained
from ..dataset import Dataset
from ..digests import digest, file_digest, requirements, versions_digest
from ..errors import ConfigError
from ..imaging.losses import with_losses
from ..imaging.original import original_image
from ..imaging.reader import PREFERRED, registered
from ..model import Model
from ..records import Sample
from ..stamps import Stamps
from .contents import Contents
from .sample_file import DAMAGES, PreparedSample, Unstorable, packed, unpacked

LIMIT = 20.0
"""The size limit in gigabytes, unless the config or ``$HEATPROOF_CACHE_LIMIT`` gives another."""
FULL = 0.9
"""Pruning goes down to this share of the limit, so that not every write has to prune."""
PRUNE_EVERY = 64
"""Check the cache size on a process's first write and every 64 writes after it."""
SUFFIX = ".sample"
DIGESTS = "digests.sqlite"
"""The file in the user's cache folder that remembers the digests of files by their stamps."""


@dataclass(frozen=True)
class Cache:
    """The folder of prepared samples, None for no cache, and its limit in gigabytes."""

    folder: Path | None = None
    limit: float = LIMIT


NOWHERE = Cache()


class Prepared:
    """The prepared samples in one folder, shared by all processes that use it.

    The keys are those of ``content_key``; ``contents`` are those of the samples. A sample is prepared again when its
    file is damaged. Errors of the cache are not raised but collected in ``messages``.
    """

    def __init__(self, cache: Cache):
        self.folder = cache.folder
        self.limit = cache.limit * 1e9  # in bytes
        self.messages: list[str] = []
        self._warned: set[str] = set()
        folder = default_folder()
        file = folder / DIGESTS if self.folder and folder else None
        self.contents = Contents(Stamps(file, self._warn))
        self._writable = True
        self._writes = 0

    def sample(self, dataset: Dataset, model: Model, id: str) -> Sample:
        """The sample of this id as the model prepares it; raises any error of ``load`` and ``prepare``."""
        key = self.keys(dataset, model, [id]).get(id)
        stored = self.stored(key)
        if stored is not None:
            return stored.sample
        with contained(dataset.short):
            native = dataset.load(id)
        with contained(model.short):
            sample = with_losses(native, model.prepare(native))
        if self.folder and key and self._writable:
            self._write(self.folder / f"{key}{SUFFIX}", native, sample)
        return sample

    def keys(self, dataset: Dataset, model: Model, ids: Sequence[str]) -> dict[str, str]:
        """Id → the key of its sample; ids whose samples cannot be cached are absent."""
        keys = {id: content_key(dataset, model, id, self.contents.of(dataset, id)) for id in ids if self.folder}
        return {id: key for id, key in keys.items() if key is not None}

    def stored(self, key: str | None) -> PreparedSample | None:
        """The sample stored under a key; None if there is none."""
        if self.folder is None or key is None:
            return None
        path = self.folder / f"{key}{SUFFIX}"
        try:
            stored = unpacked(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._warn(f"prepared samples in {path.parent} cannot be read ({error.strerror or error})")
            return None
        except DAMAGES as error:
            self.messages.append(f"the prepared sample {path} is damaged ({error}); it is prepared again")
            return None
        with suppress(OSError):
            # Another process may have removed the file; a read-only folder is never pruned.
            os.utime(path)
        return stored

    def take_messages(self) -> list[str]:
        """Return the messages since the last call."""
        messages = self.messages
        self.messages = []
        return messages

    def _write(self, path: Path, native: Sample, sample: Sample) -> None:
        """Store a sample by one rename; after the first error of the disk nothing more is stored."""
        try:
            image = original_image(native, sample)
        except Exception as error:
            self._warn(f"some prepared samples are not cached: the original image cannot be drawn ({error!r})")
            return
        try:
            _replace(path, packed(PreparedSample(sample, image)))
            self._writes += 1
            if self._writes % PRUNE_EVERY == 1:
                prune(path.parent, self.limit)
        except Unstorable as error:
            self._warn(f"some prepared samples are not cached: {error}")
        except OSError as error:
            self._writable = False
            self._warn(f"prepared samples are not cached: {path.parent} cannot be written ({error.strerror or error})")

    def _warn(self, message: str) -> None:
        """Add a message, but only once."""
        if message not in self._warned:
            self._warned.add(message)
            self.messages.append(message)


@lru_cache(maxsize=8)
def prepared(cache: Cache) -> Prepared:
    """The prepared samples of a cache: one object per process."""
    return Prepared(cache)


def first_readable(dataset: Dataset, model: Model, ids: Sequence[str], cache: Cache = NOWHERE) -> Sample | None:
    """The first sample that can be read and prepared for a model, None if there is none."""
    for id in ids:
        with suppress(Exception):  # the scores of this case will report the error
            return prepared(cache).sample(dataset, model, id)
    return None


def default_folder() -> Path | None:
    """``$HEATPROOF_CACHE``, or the system's folder for caches; None for a user without a home folder."""
    try:
        base = os.environ.get("HEATPROOF_CACHE") or user_cache_path("heatproof", appauthor=False)
    except RuntimeError:
        return None
    return Path(base, "prepared").absolute()


def configured(folder: Path | bool, limit: float | None = None) -> Cache:
    """The cache in a folder (true: the user's, false: none); raises ``ConfigError`` for a limit that is no number."""
    text = os.environ.get("HEATPROOF_CACHE_LIMIT") or LIMIT
    try:
        limit = limit or float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < inf:
        raise ConfigError(f"HEATPROOF_CACHE_LIMIT is {text!r}; set it to a number of gigabytes, such as 20.")
    if folder is True:
        return Cache(default_folder(), limit)
    return Cache(folder or None, limit)


def content_key(dataset: Dataset, model: Model, id: str, content: str) -> str | None:
    """The digest of everything that a prepared sample depends on; None where that is not known.

    It covers the dataset and its folder, the id, the ``content`` of its files, the model's preparation, the source code
    of all packages that take part, and the versions of their requirements. A dataset must be synthetic, have a root, or
    override ``content``.
    """
    known = dataset.synthetic or dataset.root() is not None or type(dataset).content is not Dataset.content
    # A model with its own `prepare` may use any of its settings.
    preparer: Component = model
    if model.preparation is not None and type(model).prepare is Model.prepare:
        preparer = model.preparation
    # Which reader takes part is not known before a file is opened, so all of them count.
    modules = _modules([dataset, preparer]).union(*(_class_modules(reader) for _, reader in registered()))
    sources = [_source(module) for module in sorted(modules)]
    if not known or None in sources:
        return None
    # The identity does not contain the folders, and one download may lie in two.
    parts = [dataset.identity, dataset.describe(), str(dataset.root()), id, content, preparer.identity, sources]
    return digest([*parts, os.environ.get(PREFERRED, "")])


def _modules(value: Any) -> set[str]:
    """The modules that define the classes of components, including the components in their Params."""
    if isinstance(value, Component):
        return _class_modules(type(value)) | _modules(dict(value.params))
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, (tuple, list)):
        return set()
    return set().union(*map(_modules, value))


def _class_modules(component: type[Component]) -> set[str]:
    return {base.__module__ for base in component.__mro__} - {"builtins", "abc", "typing"}


@lru_cache(maxsize=256)
def _source(module: str) -> str | None:
    """The digest of a module's package (or single file) and its kits; None for a module without a file."""
    top = module.partition(".")[0]
    package = Path(getattr(sys.modules.get(top), "__file__", None) or "")
    path = Path(getattr(sys.modules.get(module), "__file__", None) or "")
    if not path.is_file():
        return None
    files = [path]
    if package.name == "__init__.py":
        files = sorted(package.parent.rglob("*.py"))
    kits = [name.replace("-", "_") for name in requirements(top) if name.startswith("heatproof-")]
    kit_sources = [_source(import_module(kit).__name__) for kit in kits if find_spec(kit)]
    return digest([versions_digest(top), *map(file_digest, files), *kit_sources])


def prune(folder: Path, limit: float) -> None:
    """Remove the least recently used samples of a folder that takes more than ``limit`` bytes."""
    states = []
    for entry in os.scandir(folder):
        # Another process may be pruning too.
        with suppress(FileNotFoundError):
            if entry.name.endswith(SUFFIX):
                states.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    total = sum(size for _, size, _ in states)
    if total <= limit:
        return
    for _, size, path in sorted(states):
        if total <= FULL * limit:
            return
        Path(path).unlink(missing_ok=True)
        total -= size


def _replace(path: Path, content: bytes) -> None:
    """Write or replace a file in one step, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=SUFFIX)
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)
