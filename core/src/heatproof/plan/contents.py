"""The contents of samples: one digest of the files from which they are loaded, which enters the keys of units."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from weakref import WeakKeyDictionary

from ..dataset import Dataset
from ..digests import digest
from ..imaging.images import READERS
from ..stamps import Stamps

BATCH = 8
"""The files that a thread reads before it remembers their digests."""
EVERY = 10.0
"""The seconds between two reports of progress."""


class Contents:
    """The contents of samples, from the digests of their files."""

    def __init__(self, stamps: Stamps):
        self.stamps = stamps
        self._whole: WeakKeyDictionary[Dataset, str] = WeakKeyDictionary()

    def of(self, dataset: Dataset, *ids: str) -> str:
        """The digest of the contents of all files of these samples; empty if there are no files."""
        contents = [self._of_sample(dataset, id) for id in ids]
        return digest(contents) if any(contents) else ""

    def _of_sample(self, dataset: Dataset, id: str) -> str:
        paths = dataset.files_of(id)
        if paths is not None:
            return self._digest(list(paths))
        if dataset not in self._whole:
            self._whole[dataset] = self._digest(list(dataset.files()))
        return self._whole[dataset]

    def _digest(self, paths: Sequence[Path]) -> str:
        """The digest of names and contents of files; it is that of the same files in another folder."""
        if not paths:
            return ""
        return digest([[path.name, value] for path, value in zip(paths, self.stamps.of(paths))])

    def read(
        self, samples: Iterable[tuple[Dataset, Sequence[str]]], report: Callable[[str], None], fresh: bool = False
    ) -> None:
        """Read the files of these samples that are not remembered, or all if ``fresh``, and report the progress."""
        files: dict[Path, None] = {}
        for dataset, ids in samples:
            self._whole.pop(dataset, None)
            named = [dataset.files_of(id) for id in ids]
            for paths in [dataset.files()] if None in named else named:
                files |= dict.fromkeys(paths or ())
        paths = list(files)
        pool = ThreadPoolExecutor(READERS, "heatproof-reader")
        try:
            starts = range(0, len(paths), BATCH)
            pending = {pool.submit(self.stamps.of, paths[start : start + BATCH], fresh) for start in starts}
            while pending := wait(pending, EVERY).not_done:
                report(f"reading files: {max(0, len(paths) - BATCH * len(pending))} of {len(paths)}")
        finally:
            pool.shutdown(cancel_futures=True)
