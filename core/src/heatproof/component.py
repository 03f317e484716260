"""The base class of datasets, models, explainers and metrics: validated Params, a revision and an identity."""

import os
import time
from abc import ABC
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Self, TypeGuard, cast, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
)  # fmt: skip
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import TypeVar

from .containment import contained
from .digests import digest, file_digest
from .errors import DataError, HeatproofError, PluginError
from .messages import in_one_line
from .records import Sample
from .sources import KINDS, content, described, source

LONGEST_LABEL = 60
LONGEST_NAME = 255
LONGEST_PATH = 4096
LONGEST_TEXT = 1000


def _absolute(value: Any, info: ValidationInfo) -> Any:
    """Resolve a relative path against the folder of the config."""
    if not isinstance(value, (str, Path)):
        return value
    base = (info.context or {}).get("base", Path())
    path = Path(os.path.normpath(Path(base, Path(value).expanduser())))
    if len(os.fsencode(path)) > LONGEST_PATH or any(len(os.fsencode(name)) > LONGEST_NAME for name in path.parts):
        raise ValueError(f"is too long for a path; at most {LONGEST_NAME} bytes per name and {LONGEST_PATH} in all")
    return path


Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""The seed of random numbers, of at most 63 bits."""

Location = Annotated[Path, BeforeValidator(_absolute)]
"""A file or folder in Params; a relative path starts at the config's folder, an identity has the file's digest."""


INTERNAL = {"params", "registered", "_naming", "_identity", "_source", "_origin", "_views", "_variants", "_notices"}
"""Attributes of components that follow from what their identity covers, or that no result depends on."""


class Params(BaseModel):
    """The settings of a component, validated and frozen; a value may be a component.

    Unknown names, numbers that are not finite, and very long texts are errors. Bound every number above: a count that
    is too large should be refused, not run for ever.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        validate_default=True,
        allow_inf_nan=False,
        str_max_length=LONGEST_TEXT,
    )


P = TypeVar("P", bound=Params, default=Params, covariant=True)
"""The class of Params, given as the type argument of a component's base class."""


class Component(ABC, Generic[P]):
    """Base class of all interfaces; the identity of a component covers everything that its results depend on.

    Of installed distributions it contains no code: authors raise ``revision``. Code without a release, in a notebook, a
    script or an editable install, is part of the identity by its source.

    A component with settings passes their class to its base: ``class Smooth(Explainer[SmoothParams])``.
    """

    Params: ClassVar[type[Params]] = Params
    """The class of ``params``, taken from the type argument."""
    params: P
    revision: ClassVar[int] = 1
    """Raise it when results change for equal Params; identities do not contain package versions."""

    _defined: ClassVar[int] = 0
    _body: ClassVar[Mapping[str, Any]] = {}

    registered: str = ""
    """``distribution/name`` in the catalog; empty for a component created in Python."""

    _naming: tuple[str, Mapping[str, Any]] | None = None
    """The name that an entry of a config gives the component, and the values of the Params that it had then."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "Params" in cls.__dict__:
            name = cls.__name__
            raise PluginError(f"{name} sets Params in its body; give them to its base, as in Explainer[{name}Params].")
        for base in cls.__dict__.get("__orig_bases__", ()):
            cls.Params = _params_class(base, cls.__name__) or cls.Params
        for name in vars(cls):
            owner = next((base for base in cls.__mro__[1:] if _is_final(vars(base).get(name))), None)
            if owner is not None:
                advice = f"remove it: the documentation of {owner.__name__} says what may be overridden."
                raise PluginError(f"{cls.__name__} overrides {owner.__name__}.{name}, which is final; {advice}")
        cls._defined = time.time_ns()
        cls._body = dict(vars(cls))

    def __init__(self, **params: Any):
        try:
            self.params = cast(P, self.Params(**params))
        except ValidationError as error:
            raise HeatproofError(f"{type(self).__name__}: {in_one_line(error, params, self.Params)}") from None

    @classmethod
    def create(cls, params: Mapping[str, Any], context: Mapping[str, Any], registered: str) -> Self:
        """Create a component from the Params of a config; raises pydantic's ``ValidationError``.

        ``context`` has ``base``, the folder for relative paths, and the ``catalog``, which creates nested components.
        """
        try:
            validated = cls.Params.model_validate(dict(params), context=dict(context))
            with contained(registered):
                component = cls(**dict(validated))
        except (ValidationError, HeatproofError):
            raise
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            raise PluginError(f"{registered} cannot be created with these settings ({fault})") from error
        component.registered = registered
        return component

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(cls._converted, core_schema.is_instance_schema(cls))

    @classmethod
    def _converted(cls, value: Any, info: ValidationInfo) -> Any:
        """Let the catalog of the context convert a description in a config to a component."""
        context = info.context or {}
        if "catalog" not in context:
            return value
        return context["catalog"].convert(cls, value, context)

    @property
    def name(self) -> str:
        """``distribution/name``, or the import path of the class of an unregistered component."""
        return self.registered or f"{type(self).__module__}:{type(self).__qualname__}"

    @property
    def entry_name(self) -> str:
        """The name that an entry of a config gives it: a label that no identity contains; empty without one."""
        return self._naming[0] if self._naming else ""

    @property
    def short(self) -> str:
        """The name that tables show: of its entry, the value of a Param ``name``, or the last part of ``name``."""
        label = self.entry_name or getattr(self.params, "name", None)
        return str(label or self.name.rsplit("/", 1)[-1].rsplit(":", 1)[-1])

    @property
    def identity(self) -> str:
        """The digest of name, revision, Params, nested identities, files and source; computed again for each plan."""
        if "_identity" not in self.__dict__:
            self.__dict__["_source"] = source(type(self))
            self.__dict__["_identity"] = digest(self._parts())
        return str(self.__dict__["_identity"])

    def _parts(self) -> list[Any]:
        """Everything that the identity is the digest of."""
        parts = [self.name, self.revision, self._identity_params(), self.content()]
        attributes = self._attributes()
        return [*parts, *filter(None, [self.__dict__["_source"], attributes and content(type(self), attributes)])]

    def _attributes(self) -> dict[str, Any]:
        """The attributes besides the Params; private ones are caches, unless the constructor takes more than Params."""
        cls = type(self)
        names = [name for name in vars(self) if name not in INTERNAL]
        computed = {name for name in names if type(getattr(cls, name, None)) is cached_property}
        attributes = {name: vars(self)[name] for name in names if name not in computed}
        _, *parameters = signature(cls.__init__).parameters.values()
        if all(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
            return {name: value for name, value in attributes.items() if not name.startswith("_")}
        return attributes

    def renew(self) -> None:
        """Forget the identity, also that of nested components, so that it is computed from what there is now."""
        self.__dict__.pop("_identity", None)
        renew(self.params)

    def content(self) -> str:
        """Return a digest of further inputs, such as a packaged checkpoint; empty if there are none."""
        return ""

    def describe(self) -> dict[str, Any]:
        """Return this component in the form of a config: ``{"use": name, param: value, …}``."""
        return {"use": self.name} | {name: plain(value) for name, value in self._values()}

    def with_(self, **changes: Any) -> Self:
        """Return a copy with changed Params, which are validated again."""
        copy = type(self)(**dict(self._values()) | changes)
        copy.__dict__ = self._attributes() | vars(copy) | {"registered": self.registered, "_naming": self._naming}
        return copy

    def with_name(self, name: str) -> Self:
        """Return a copy that tables show under this name; raises ``HeatproofError`` for a name that is no label."""
        sound = isinstance(name, str) and name.strip() == name and name.isprintable()
        if not sound or not 0 < len(name) <= LONGEST_LABEL:
            raise HeatproofError(
                f"name: should be a label of 1 to {LONGEST_LABEL} printable characters (seen: {name!r:.80})"
            )
        copy = self.with_()
        copy._naming = (name, dict(copy._values()))
        return copy

    def changed_settings(self) -> dict[str, Any]:
        """The Params by which labels tell the component from others.

        They differ from their defaults, or, if an entry of a config names the component, from those of the entry.
        """
        usual: Mapping[str, Any] = _defaults(type(self.params))
        if self._naming:
            _, usual = self._naming
        return {
            name: value
            for name, value in self._values()
            if name not in usual or mapped(value, _comparable) != mapped(usual[name], _comparable)
        }

    @property
    def open(self) -> tuple[str, ...]:
        """The names of the Params that ``fit`` has to fill from the tuning split."""
        return ()

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Return a component with its open Params filled from prepared samples of the tuning split."""
        return self

    def _values(self) -> Iterable[tuple[str, Any]]:
        return ((name, getattr(self.params, name)) for name in type(self.params).model_fields)

    def _identity_params(self) -> dict[str, Any]:
        """Return the Params with identities in place of components, and digests in place of files."""
        return {name: mapped(value, _identity_leaf) for name, value in self._values()}

    def __getstate__(self) -> dict[str, Any]:
        attributes = {"registered": self.registered, "_naming": self._naming, **self._attributes()}
        state = {"params": dict(self._values()), "attributes": attributes}
        return state | {"identity": self.identity, "source": self.__dict__["_source"]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["params"])  # type: ignore[misc]
        self.__dict__ |= state["attributes"] | {"_identity": state["identity"], "_source": state["source"]}
        if source(type(self)) != state["source"]:
            raise PluginError(
                f"{self.name} was edited since the run started, or is another class in the worker; run again."
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values())})"


def _params_class(base: Any, name: str) -> type[Params] | None:
    """Return the type argument of a base such as ``Explainer[SmoothParams]``, or the bound of a type variable."""
    for variable, argument in zip(getattr(get_origin(base), "__parameters__", ()), get_args(base)):
        if not _is_params(getattr(variable, "__bound__", None)):
            continue
        params = getattr(argument, "__bound__", argument)
        if not _is_params(params):
            raise PluginError(f"{name} gives its base no Params; give a class derived from Params, without quotes.")
        return params
    return None


def _is_params(value: Any) -> TypeGuard[type[Params]]:
    return isinstance(value, type) and issubclass(value, Params)


def _is_final(member: Any) -> bool:
    """Whether a member, or the getter of a property, is marked by ``typing.final``."""
    return bool(getattr(getattr(member, "fget", member), "__final__", False))


def misfit(error: HeatproofError | ValueError, component: type[Component] | None, params: Any) -> PydanticCustomError:
    """Convert an error of a component into one that pydantic locates at the component's description."""
    reason = str(error)
    if component is not None and isinstance(error, ValidationError):
        reason = in_one_line(error, params, component.Params)
    return PydanticCustomError("component", "{reason}", {"reason": reason, "error": error, "component": component})


def mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Apply ``leaf`` to all values in nested mappings, lists, sets and settings; sets become sorted lists."""
    if isinstance(value, Mapping):
        return {str(name): mapped(entry, leaf) for name, entry in value.items()}
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    if isinstance(value, (list, tuple)):
        return [mapped(entry, leaf) for entry in value]
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {info.alias or name: mapped(getattr(value, name), leaf) for name, info in fields.items()}
    return leaf(value)


@cache
def _defaults(params: type[Params]) -> dict[str, Any]:
    """The default of every Param that has one, as the validators of the class leave it."""
    try:
        return dict(params())
    except (ValidationError, HeatproofError):  # some Params are required
        fields = params.model_fields.items()
        return {name: info.get_default(call_default_factory=True) for name, info in fields if not info.is_required()}


def _comparable(value: Any) -> Any:
    """The class and the Params of a component, so that the registered one equals the same created in Python."""
    if isinstance(value, Component):
        return [type(value), {name: mapped(entry, _comparable) for name, entry in value._values()}]
    return value


def _identity_leaf(value: Any) -> Any:
    if isinstance(value, Component):
        return value.identity
    if not isinstance(value, Path):
        return value
    if not value.exists():
        raise DataError(f"{value} does not exist; give the path of an existing file or folder.")
    if not value.is_file():
        return ""  # a component digests the files of a folder in ``content``
    return file_digest(value)


def renew(value: Any) -> None:
    """Let every component in nested settings compute its identity again from the files, weights and code of now."""

    def leaf(value: Any) -> None:
        if isinstance(value, Component):
            value.renew()

    mapped(value, leaf)


def plain(value: Any) -> Any:
    """Convert the value of a Param to types that JSON and YAML can write."""
    return mapped(value, _plain_leaf)


def _plain_leaf(value: Any) -> Any:
    if isinstance(value, Component):
        return value.describe()
    if isinstance(value, Path):
        return str(value)
    return value


def _component(value: Component, memo: Any) -> Any:
    """A component as the source of a class that uses it contains it: its own identity may be in computation."""
    return ["component", described(type(value), memo), value.registered, described(dict(value.params), memo)]


KINDS.append((Component, _component))
