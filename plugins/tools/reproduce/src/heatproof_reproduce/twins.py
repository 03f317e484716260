"""The data of a reproduction: synthetic twins that it writes, or the user's own data sets, which it checks."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatproof.config.components import create
from heatproof.dataset import Tally
from heatproof.errors import DataError, HeatproofError

from .disk import replace_file, writing
from .paper import Data, Paper, Profile

if TYPE_CHECKING:
    from heatproof.registry.catalog import Catalog

Command = Callable[[Sequence[str]], None]


def roots(paper: Paper, profile: Profile, output: Path) -> dict[str, Path]:
    """Return the folder of each data set by its variable: of a twin, or of the user's own data.

    Raises ``DataError`` if a variable is not set.
    """
    if profile.data == "twin":
        return {entry.variable: output / "data" / entry.variable.lower() for entry in paper.data}
    unset = [entry for entry in paper.data if not os.environ.get(entry.variable)]
    if unset:
        raise _missing([(entry, f"the environment variable {entry.variable} is not set") for entry in unset])
    return {entry.variable: Path(os.environ[entry.variable]).expanduser().absolute() for entry in paper.data}


def write_twin(entry: Data, profile: Profile, root: Path, command: Command) -> None:
    """Write the twin of a data set by ``heatproof data write``, unless the folder already holds it.

    A twin with other settings, or one whose writing was interrupted, is written anew.
    """
    words = _words(entry, profile)
    record = root.with_name(f"{root.name}.json")
    if root.is_dir() and record.is_file() and json.loads(record.read_text(encoding="utf-8")) == words:
        return
    with writing(root.parent):
        record.unlink(missing_ok=True)
        if root.exists():
            shutil.rmtree(root)
        root.parent.mkdir(parents=True, exist_ok=True)
    command([*words, "--root", str(root)])
    replace_file(record, (json.dumps(words, indent=1) + "\n").encode())


def _words(entry: Data, profile: Profile) -> list[str]:
    """The words of the command that writes a twin, without its folder."""
    twin = entry.twin
    words = ["data", "write", entry.use, "--from", twin.source]
    settings = {**twin.settings, **profile.twin.get(entry.variable, {})}
    for option, values in (("--set", settings), ("--layout", twin.layout)):
        for name, value in values.items():
            words += [option, f"{name}={json.dumps(value)}"]
    if twin.split:
        words += ["--split", twin.split]
    if entry.variable in profile.limit:
        words += ["--limit", str(profile.limit[entry.variable])]
    return words


def require_complete(catalog: "Catalog", entries: Sequence[Data], roots: Mapping[str, Path], output: Path) -> None:
    """Check the user's own data sets; raises ``DataError``: what is there, what is missing, and where to obtain it.

    A check decodes every file, so a data set that was complete is not checked again while its files are the same.
    """
    faults = []
    for entry in entries:
        record = output / "data" / f"{entry.variable.lower()}-checked.json"
        fault = _fault(catalog, entry, roots[entry.variable], record)
        if fault:
            faults.append((entry, fault))
    if faults:
        raise _missing(faults)


def _fault(catalog: "Catalog", entry: Data, root: Path, record: Path) -> str:
    """What is wrong with a data set; empty if it is complete, which is then recorded."""
    if not root.is_dir():
        return f"{root} is not a folder"
    try:
        dataset: Any = create(catalog, "dataset", entry.use, {**entry.settings, "root": str(root)})
        checked = json.dumps({**dataset.describe(), "content": dataset.content()}, default=str, sort_keys=True)
        if record.is_file() and record.read_text(encoding="utf-8") == checked:
            return ""
        tallies = dataset.check()
    except HeatproofError as error:
        return str(error).rstrip(".")
    fault = "; ".join(_deviations(tallies))
    if not fault:
        replace_file(record, checked.encode())
    return fault


def _deviations(tallies: Sequence[Tally]) -> Iterator[str]:
    """What differs from the published counts, in words."""
    for tally in tallies:
        if tally.expected is not None and tally.count != tally.expected:
            example = f", such as {tally.example}" if tally.example else ""
            yield f"{tally.what}: {tally.count} are there, {tally.expected} are published{example}"


def _missing(faults: Sequence[tuple[Data, str]]) -> DataError:
    lines = [
        f"{entry.use} (variable {entry.variable}): {fault}. To obtain it: {entry.obtain}" for entry, fault in faults
    ]
    lines.append("Set the variables to the folders of the complete data, or use --profile twin for synthetic data.")
    return DataError("\n".join(lines))
