"""What datasets, models, explainers and metrics share: validated Params, a revision and an identity."""

import os
from abc import ABC
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Self, TypeGuard, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import TypeVar

from .digests import digest, file_digest
from .errors import DataError, HeatproofError, PluginError
from .records import Sample


def _located(value: Any, info: ValidationInfo) -> Any:
    """Resolve a relative path against the folder of the config that names it."""
    if not isinstance(value, (str, Path)):
        return value
    base = (info.context or {}).get("base", Path())
    return Path(os.path.normpath(Path(base, Path(value).expanduser())))


Location = Annotated[Path, BeforeValidator(_located)]
"""A file or folder in Params: relative to the config that names it; in identities it counts by content."""


class Params(BaseModel):
    """The settings of a component: validated, frozen, unknown names refused; a value may itself be a component."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, validate_default=True)


P = TypeVar("P", bound=Params, default=Params, covariant=True)
"""The Params of a component, which its class names as the type argument of its base."""


class Component(ABC, Generic[P]):
    """Base of every interface, whose identity names all that its numbers depend on.

    A component with settings names their class as it is derived: ``class Smooth(Explainer[SmoothParams])``.
    """

    Params: ClassVar[type[Params]] = Params
    """The class of ``params``, taken from the type argument."""
    params: P
    revision: ClassVar[int] = 1
    """Raise it when the same Params give other numbers; package versions do not enter identities."""

    registered: str = ""
    """``distribution/name`` as the catalog knows it; the class's import path where it was made by hand."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "Params" in cls.__dict__:
            raise PluginError(
                f"{cls.__name__} sets Params in its body; name them as in Explainer[{cls.__name__}Params]."
            )
        for base in cls.__dict__.get("__orig_bases__", ()):
            cls.Params = _argument(base, cls.__name__) or cls.Params
        for name in vars(cls):
            owner = next((base for base in cls.__mro__[1:] if _is_final(vars(base).get(name))), None)
            if owner is not None:
                raise PluginError(
                    f"{cls.__name__} overrides {owner.__name__}.{name}, which no run would honour; remove it: the "
                    f"documentation of {owner.__name__} says what may be overridden."
                )

    def __init__(self, **params: Any):
        try:
            self.params = cast(P, self.Params(**params))
        except ValidationError as error:
            raise HeatproofError(f"{type(self).__name__}: {problems(error)}") from None

    @classmethod
    def made(cls, params: Mapping[str, Any], context: Mapping[str, Any], registered: str) -> Self:
        """A component from the Params of a config, under its registered name; raises pydantic's ``ValidationError``.

        ``context`` holds ``base``, the folder that paths are relative to, and the ``catalog`` that makes nested ones.
        """
        try:
            component = cls(**dict(cls.Params.model_validate(dict(params), context=dict(context))))
        except (ValidationError, HeatproofError):
            raise
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            raise PluginError(f"{registered} cannot be made with these parameters ({fault})") from error
        component.registered = registered
        return component

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(cls._given, core_schema.is_instance_schema(cls))

    @classmethod
    def _given(cls, value: Any, info: ValidationInfo) -> Any:
        """A Param that is a component: as it is, or made by the catalog from what a config says."""
        context = info.context or {}
        return context["catalog"].convert(cls, value, context) if "catalog" in context else value

    @property
    def name(self) -> str:
        """``distribution/name``, or the import path of a class that no plugin registers."""
        return self.registered or f"{type(self).__module__}:{type(self).__qualname__}"

    @property
    def short(self) -> str:
        """The registered name without its distribution, as tables show it."""
        return self.name.rsplit("/", 1)[-1].rsplit(":", 1)[-1]

    @property
    def identity(self) -> str:
        """The digest of name, revision, Params, nested identities and the content of files."""
        cached = self.__dict__.get("_identity")
        if cached is None:
            cached = self.__dict__["_identity"] = digest([self.name, self.revision, self._keyed(), self.content()])
        return str(cached)

    def content(self) -> str:
        """A digest of what the numbers depend on besides the Params, such as a packaged checkpoint; else empty."""
        return ""

    def describe(self) -> dict[str, Any]:
        """This component as a config writes it: ``{"use": name, param: value, …}``."""
        return {"use": self.name} | {name: plain(value) for name, value in self._values()}

    def with_(self, **changes: Any) -> Self:
        """The same component with some Params changed, validated anew."""
        fresh = type(self)(**dict(self._values()) | changes)
        fresh.registered = self.registered
        return fresh

    @property
    def open(self) -> tuple[str, ...]:
        """The Params that ``fit`` still has to fill from the tuning split."""
        return ()

    def fit(self, samples: Iterable[Sample]) -> Self:
        """This component with its open Params filled from prepared samples of the tuning split."""
        return self

    def _values(self) -> Iterable[tuple[str, Any]]:
        return ((name, getattr(self.params, name)) for name in type(self.params).model_fields)

    def _keyed(self) -> dict[str, Any]:
        return {name: mapped(value, _identified) for name, value in self._values()}

    def __getstate__(self) -> dict[str, Any]:
        return {"params": dict(self._values()), "registered": self.registered, "identity": self.identity}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["params"])  # type: ignore[misc]
        self.registered, self.__dict__["_identity"] = state["registered"], state["identity"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values())})"


def _argument(base: Any, name: str) -> type[Params] | None:
    """The class of Params that a base such as ``Explainer[SmoothParams]`` names; where it is open, its bound."""
    for variable, argument in zip(getattr(get_origin(base), "__parameters__", ()), get_args(base)):
        if not _is_params(getattr(variable, "__bound__", None)):
            continue
        params = getattr(argument, "__bound__", argument)
        if not _is_params(params):
            raise PluginError(f"{name} names {params!r} as its Params; name a class derived from Params.")
        return params
    return None


def _is_params(value: Any) -> TypeGuard[type[Params]]:
    return isinstance(value, type) and issubclass(value, Params)


def _is_final(member: Any) -> bool:
    """Whether a member is marked by ``typing.final``; a property by its function."""
    return bool(getattr(getattr(member, "fget", member), "__final__", False))


def misfit(error: HeatproofError | ValueError, component: type[Component] | None) -> PydanticCustomError:
    """What is wrong with a component that a config describes, as an error that pydantic puts at its place."""
    reason = problems(error) if isinstance(error, ValidationError) else str(error)
    return PydanticCustomError("component", "{reason}", {"reason": reason, "error": error, "component": component})


def problems(error: ValidationError) -> str:
    """Pydantic's findings in one line: ``samples: Input should be greater than 0 (seen: -1)``."""
    return "; ".join(
        f"{'.'.join(map(str, entry['loc'])) or 'settings'}: {entry['msg']} (seen: {entry['input']!r})"
        for entry in error.errors()
    )


def mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """A value with ``leaf`` of everything in its mappings, lists, sets and settings; sets in order."""
    if isinstance(value, Mapping):
        return {str(name): mapped(entry, leaf) for name, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        entries = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [mapped(entry, leaf) for entry in entries]
    if isinstance(value, BaseModel):
        return {name: mapped(getattr(value, name), leaf) for name in type(value).model_fields}
    return leaf(value)


def _identified(value: Any) -> Any:
    if isinstance(value, Component):
        return value.identity
    return _path_identity(value) if isinstance(value, Path) else value


def _path_identity(path: Path) -> str:
    """A file counts by its bytes; a folder is left to the component's ``content``."""
    if not path.exists():
        raise DataError(f"{path} does not exist; give the path of an existing file or folder.")
    return file_digest(path) if path.is_file() else ""


def plain(value: Any) -> Any:
    """A Param's value as JSON and YAML can write it."""
    return mapped(value, _written_leaf)


def _written_leaf(value: Any) -> Any:
    if isinstance(value, Component):
        return value.describe()
    return str(value) if isinstance(value, Path) else value
