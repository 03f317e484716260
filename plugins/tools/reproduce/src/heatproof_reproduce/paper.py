"""The description of a paper: its data, steps, profiles and figures, read from ``paper.yaml``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from heatproof.component import Params
from heatproof.config import reading
from heatproof.config.entries import Count

NAME = r"^[a-z0-9][a-z0-9_-]*$"
VARIABLE = r"^[A-Z][A-Z0-9_]*$"
RUNS = "RUNS"
"""The variable by which configs name the folder of all steps."""

Name = Annotated[str, Field(pattern=NAME, max_length=60)]
Variable = Annotated[str, Field(pattern=VARIABLE, max_length=60)]


class Twin(Params):
    """How ``heatproof data write`` makes a synthetic twin: the dataset it is drawn from, and settings of both."""

    source: str = Field("phantom", alias="from")
    settings: Mapping[str, Any] = Field({}, alias="set")
    layout: Mapping[str, Any] = {}
    split: str | None = None


class Data(Params):
    """A data set that the configs read: ``${variable}`` is its folder in them, ``use`` the dataset that reads it.

    ``settings`` are those of the dataset besides ``root``, with which real data are checked. ``paper`` tells whether
    they are the data of the paper, and ``obtain`` where they are to be had.
    """

    variable: Variable
    use: str
    settings: Mapping[str, Any] = Field({}, alias="set")
    twin: Twin = Field(default_factory=lambda: Twin.model_validate({}))
    paper: bool = True
    obtain: str


class Step(Params):
    """One command: ``train`` or ``run`` names its config, whose ``output`` is ``${RUNS}/name``.

    ``synthetic`` names the data of a step whose data are synthetic in every profile.
    """

    name: Name
    train: str | None = None
    run: str | None = None
    synthetic: str = ""

    @model_validator(mode="after")
    def _single(self) -> Self:
        if (self.train is None) == (self.run is None):
            raise ValueError("give train or run")
        return self

    @property
    def command(self) -> str:
        """The name of the command."""
        return "run" if self.train is None else "train"

    @property
    def config(self) -> str:
        """The file name of the config."""
        return str(self.run or self.train)


class Profile(Params):
    """One way to run a paper: on its ``real`` data or on twins, and with which changes.

    ``twin``: variable → settings of the twin's source that differ. ``limit``: variable → the most samples of each split
    of the source that the twin has. ``settings``: step → assignments as for ``--set``.
    ``networks`` says why the networks are not those of the paper; it is empty if they are.
    """

    data: Literal["twin", "real"]
    twin: Mapping[Variable, Mapping[str, Any]] = {}
    limit: Mapping[Variable, Count] = {}
    settings: Mapping[str, tuple[str, ...]] = Field({}, alias="set")
    networks: str = ""


class Paper(Params):
    """A paper as ``paper.yaml`` describes it.

    ``shows`` says in words what a run on twins shows in place of the published numbers. ``figures``: name →
    ``"module:function"``, which gets the reproduction and returns a figure of matplotlib and the rows of its table.
    """

    title: str
    citation: str
    shows: str = ""
    data: tuple[Data, ...]
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]
    profiles: Annotated[Mapping[str, Profile], Field(min_length=1)]
    figures: Mapping[Name, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        steps = [step.name for step in self.steps]
        variables = [entry.variable for entry in self.data]
        for kind, names in (("steps", steps), ("data", variables)):
            if len(set(names)) < len(names):
                raise ValueError(f"{kind}: two entries have the same name; rename one")
        for name, profile in self.profiles.items():
            strangers = {*profile.settings} - {*steps} | {*profile.twin, *profile.limit} - {*variables}
            if strangers:
                raise ValueError(f"profiles.{name} changes {min(strangers)!r}, which is neither a step nor a variable")
        return self


def load(folder: Path, catalog: Any) -> Paper:
    """Read ``paper.yaml`` of a folder; raises ``ConfigError`` with all mistakes, each with file and line."""
    document = reading.opened(folder / "paper.yaml", (), "title, citation, data, steps and profiles")
    paper = reading.validated(document, Paper, catalog.context(folder))
    reading.require_sound(document)
    return paper
