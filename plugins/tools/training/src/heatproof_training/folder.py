"""The folder of a training: files that become whole by one rename, and the config that they belong to."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from heatproof.errors import StoreError
from heatproof_fresh_folders import file

CONFIG = "config.json"
SETTLED = frozenset({"output", "device", "threads", "cache", "memory", "save_every", "epochs", "patience"})
"""Settings that may change when a training continues: no step that was made depends on them."""
DISK = (OSError, SafetensorError)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into a ``StoreError`` that says what to do."""
    try:
        yield
    except DISK as error:
        reason = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
        raise StoreError(
            f"cannot write to {folder}: {reason}; make room, or choose another output folder, and run the same command "
            "again: the last state and the best checkpoint are kept."
        ) from error


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: it has its old content or the new one. Raises ``StoreError``."""
    with writing(path.parent):
        file.replace_file(path, content)


def replace_json(path: Path, value: Any) -> None:
    """Write JSON in one step; numbers that are not finite become null."""
    replace_file(path, (json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n").encode())


def opened(folder: Path, config: Mapping[str, Any]) -> None:
    """Make the folder, or continue in it; raises ``StoreError`` where that is not possible, or the config is another.

    Partial files of a process that was killed are removed; a folder without a state belongs to no config yet.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for partial in folder.rglob(".partial-*"):
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()
    path = folder / CONFIG
    if path.is_file() and (any(folder.glob("state-*")) or any(folder.glob("fold-*/state-*"))):
        _require_same(folder, json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(config)))
    elif not path.is_file() and any(folder.iterdir()):
        raise StoreError(f"{folder} holds other files than those of a training; choose another output.")
    replace_json(path, config)


def _require_same(folder: Path, earlier: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    changed = sorted(
        name for name in {*earlier, *config} - SETTLED if earlier.get(name) != config.get(name)
    )  # fmt: skip
    if changed:
        name = changed[0]
        raise StoreError(
            f"{folder} holds a training with another {', '.join(changed)} (there: {earlier.get(name)!s:.80}, now: "
            f"{config.get(name)!s:.80}); choose another output, or remove the folder."
        )


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {str(name): _finite(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value
