"""One reproduction of a paper: its profile, its folder, and the data and results of its steps."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from heatproof.errors import ConfigError
from heatproof.results.finished import Results

from .paper import RUNS, Data, Paper, Profile, Step

if TYPE_CHECKING:
    from heatproof.registry.catalog import Catalog

VARIABLE = re.compile(r"\$\{(\w+)(?::-[^}]*)?\}")
STEP = re.compile(r"\$\{RUNS(?::-[^}]*)?\}/([a-z0-9_-]+)")


@dataclass(frozen=True)
class Reproduction:
    """A paper that is run in a profile; ``source`` is the folder with its configs, ``output`` the one of its results.

    ``roots``: variable → the folder of the data.
    """

    name: str
    paper: Paper
    profile_name: str
    source: Path
    output: Path
    roots: Mapping[str, Path]
    catalog: "Catalog"

    @property
    def profile(self) -> Profile:
        """The settings of the profile."""
        return self.paper.profiles[self.profile_name]

    @property
    def synthetic(self) -> bool:
        """Whether the data are synthetic twins."""
        return self.profile.data == "twin"

    def folder(self, step: str) -> Path:
        """The folder of a step's results."""
        return self.output / step

    def results(self, step: str) -> Results:
        """The tables of a step that is a run; raises ``StoreError`` if they are missing or damaged."""
        return Results(self.folder(step), self.catalog)

    def config(self, step: Step) -> Path:
        """The path of a step's config."""
        return self.source / step.config

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Set the variables that the configs name, while the block runs."""
        values = {RUNS: self.output, **self.roots}
        before = {name: os.environ.get(name) for name in values}
        os.environ.update({name: str(path) for name, path in values.items()})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    @cached_property
    def data_of(self) -> Mapping[str, tuple[Data, ...]]:
        """Step → the data that its config reads, and those of the steps whose results it reads."""
        read: dict[str, tuple[Data, ...]] = {}
        for step in self.paper.steps:
            text = self._text(step)
            variables = set(VARIABLE.findall(text))
            own = [entry for entry in self.paper.data if entry.variable in variables]
            earlier = [entry for name in STEP.findall(text) if name != step.name for entry in read.get(name, ())]
            read[step.name] = tuple({entry.variable: entry for entry in [*own, *earlier]}.values())
        return read

    def _text(self, step: Step) -> str:
        path = self.config(step)
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}, the config of step {step.name}, cannot be read ({error}).") from None

    def synthetic_in(self, step: str) -> bool:
        """Whether the data of a step are synthetic."""
        return self.synthetic or bool(self._step(step).synthetic)

    def _step(self, name: str) -> Step:
        return next(step for step in self.paper.steps if step.name == name)

    def used(self, step: str) -> str:
        """The data of a step in words."""
        if self._step(step).synthetic:
            return self._step(step).synthetic
        return "; ".join(self.described(entry) for entry in self.data_of[step])

    def described(self, entry: Data) -> str:
        """A data set in words: a twin and what it is drawn from, or the folder."""
        if not self.synthetic:
            return f"{entry.use} in {self.roots[entry.variable]}"
        settings = {**entry.twin.settings, **self.profile.twin.get(entry.variable, {})}
        listed = ", ".join(f"{name} {value}" for name, value in settings.items())
        if entry.variable in self.profile.limit:
            listed += f", at most {self.profile.limit[entry.variable]} of each split"
        return f"synthetic twin of {entry.use}, drawn by {entry.twin.source}" + (f" ({listed})" if listed else "")
