"""Digests of files by content: remembered by stamp, and never those of another content."""

import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest

from heatproof import stamps as module
from heatproof.stamps import Stamps


class Store:
    """The remembered digests in a folder, as separate processes see them, with the files that were read."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.file = folder / "cache" / "digests.sqlite"
        self.reads: list[str] = []
        self.messages: list[str] = []
        read = module.file_digest
        monkeypatch.setattr(module, "file_digest", lambda path: (self.reads.append(path.name), read(path))[1])

    def anew(self) -> Stamps:
        """Another process."""
        return Stamps(self.file, self.messages.append)

    def read(self) -> list[str]:
        """The names of the files that were read since the last call."""
        reads = self.reads
        self.reads = []
        return reads


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return Store(tmp_path, monkeypatch)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file be older than the ticks of any clock."""
    monkeypatch.setattr(module.time, "time", lambda now=time.time: now() + 10)


def in_place(path: Path, content: bytes) -> None:
    """Write into a file as ``cp -p`` and ``rsync --inplace`` do: its inode and its time stay."""
    state = path.stat()
    with open(path, "r+b") as stream:
        stream.write(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def replaced(path: Path, content: bytes) -> None:
    """Replace a file as ``rsync -t`` and archives do: another inode with the same time."""
    state = path.stat()
    other = path.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    os.replace(other, path)


def expected(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def test_an_unchanged_file_is_read_once(store: Store, later: None, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(path.name.encode())
    first = store.anew()
    assert first.of(paths) == first.of(paths) == [expected(b"a"), expected(b"b")]
    assert store.read() == ["a", "b"]
    assert store.anew().of([*paths, paths[0]]) == [expected(b"a"), expected(b"b"), expected(b"a")]
    assert store.read() == []
    assert first.of(paths[:1], fresh=True) == [expected(b"a")]
    assert store.read() == ["a"]
    assert not store.messages


@pytest.mark.parametrize("edit", [in_place, replaced])
def test_another_content_of_the_same_size_and_time(
    store: Store, later: None, tmp_path: Path, edit: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before")
    process = store.anew()
    assert process.of([path]) == [expected(b"before")]
    state = path.stat()
    edit(path, b"after.")
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert process.of([path]) == store.anew().of([path]) == [expected(b"after.")]


def test_a_file_that_was_just_written_is_not_remembered(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    process = store.anew()
    for _ in range(2):
        assert process.of([path]) == [expected(b"a")]
    assert store.anew().of([path]) == [expected(b"a")]
    assert store.read() == ["a"] * 3


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    store: Store, later: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a")
    read = module.file_digest

    def slowly(path: Path) -> str:
        value = read(path)
        in_place(path, b"b")
        return value

    monkeypatch.setattr(module, "file_digest", slowly)
    process = store.anew()
    process.of([path])
    monkeypatch.setattr(module, "file_digest", read)
    assert process.of([path]) == store.anew().of([path]) == [expected(b"b")]


def test_what_cannot_be_read_has_no_digest(store: Store, later: None, tmp_path: Path) -> None:
    path = tmp_path / "a"
    process = store.anew()
    assert process.of([path, tmp_path, tmp_path / "\0", tmp_path / "a" / "b"]) == [None] * 4
    path.write_bytes(b"a")
    assert process.of([path]) == [expected(b"a")]
    path.unlink()
    assert process.of([path]) == store.anew().of([path]) == [None]


def _garbage(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def _truncated(file: Path) -> None:
    Stamps(file, pytest.fail).of([file.parents[1] / "a"], fresh=True)
    file.write_bytes(file.read_bytes()[:5000])


def _folder(file: Path) -> None:
    file.mkdir()


def _locked(file: Path) -> None:
    _locked.connection = sqlite3.connect(file, isolation_level=None)  # type: ignore[attr-defined]
    _locked.connection.execute("begin exclusive")  # type: ignore[attr-defined]


@pytest.mark.parametrize("harm", [_garbage, _truncated, _folder, _locked])
def test_a_memory_that_cannot_be_used_is_said_once(
    store: Store, later: None, tmp_path: Path, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    path = tmp_path / "a"
    path.write_bytes(b"a")
    store.file.parent.mkdir()
    harm(store.file)
    store.read()
    process = store.anew()
    for _ in range(3):
        assert process.of([path]) == [expected(b"a")]
    assert store.read() == ["a"], "this process remembers it"
    (message,) = store.messages
    assert message.startswith(f"digests of files are not remembered: {store.file} cannot be used (")


def test_a_folder_that_is_a_file_is_said_once(store: Store, later: None, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    store.file.parent.write_text("a file is in the way")
    assert store.anew().of([tmp_path / "a"]) == [expected(b"a")]
    assert len(store.messages) == 1


def test_several_processes_and_threads_share_the_memory(store: Store, later: None, tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode())
    processes = [store.anew() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: processes[number % 4].of(paths[number : number + 8]), range(32)))
    assert all(
        result == [expected(path.name.encode()) for path in paths[n : n + 8]] for n, result in enumerate(results)
    )
    store.read()
    store.anew().of(paths[:39])
    assert store.read() == []
    assert not store.messages
