"""The source of classes that no released distribution contains: the part of an identity that ``revision`` leaves open.

A class in a file is known by the files of ``source_files``; a class without one, as in a notebook, by its code and by
everything that this code uses, by value. Released classes, functions and modules are known by their names.
"""

import copyreg
import dis
import functools
import hashlib
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .digests import digest
from .errors import PluginError
from .source_files import classes, code_digest, file_of, imported, is_released, real

PLAIN = {types.NoneType, types.EllipsisType, bool, int, float, complex, str}
GENERATED = ("<string>", "<attrs generated")
"""File names of the methods that dataclasses, named tuples and attrs write."""
HEAP = 1 << 9
"""The flag of classes that a class statement made, not a type of C."""
WRAPPERS: Mapping[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"), staticmethod: ("__func__",), classmethod: ("__func__",),
    functools.cached_property: ("func",), functools.partialmethod: ("func",), functools.singledispatchmethod: ("func",),
    type(functools.lru_cache(len)): ("__wrapped__",),
}  # fmt: skip
"""Wrapper of functions → the attributes that hold them."""
PARTS: Mapping[type, tuple[str, ...]] = {**WRAPPERS, types.MethodType: ("__func__", "__self__")}

Memo = dict[int, tuple[int, Any]]
"""The id of a described value → its number, and the value itself, so that no other gets its id meanwhile."""
Kind = Callable[[Any, Memo], Any]
"""Describes values of one type."""


class Untold(Exception):
    """A value whose content cannot be told; its arguments: the name that refers to it, and its type."""


def source(kind: type) -> str:
    """Return the digest of the source of a class; empty if only released code defines it.

    It is as it was when it was first asked for since the last ``refresh``, which starts every plan. Raises
    ``PluginError`` if it uses a value whose content cannot be told.
    """
    if kind not in classes:
        with _refusing(kind):
            parts = [part for base in kind.__mro__ for part in _definition(base, {id(kind): (0, kind)})]
        classes[kind] = digest(parts) if parts else ""
    return classes[kind]


def content(kind: type, values: Mapping[str, Any], known: Iterable[Any] = ()) -> str:
    """Return the digest of values that an object holds; ``known`` ones count by position. Raises ``PluginError``."""
    with _refusing(kind):
        return digest(_each(values, {id(value): (number, value) for number, value in enumerate(known)}))


@contextmanager
def _refusing(kind: type) -> Iterator[None]:
    try:
        yield
    except Untold as untold:
        raise PluginError(
            f"{kind.__name__} uses {untold.args[0]}, a {untold.args[1]} whose content cannot be told, so results of "
            "different code could not be told apart; remove it, make it a Param, or define the class in a module."
        ) from None


def _definition(kind: type, memo: Memo) -> list[Any]:
    """What one class of an MRO adds: its files, and the members that these do not define."""
    if _is_released(kind) and kind.__module__ in sys.stdlib_module_names:
        return []
    file = file_of(kind.__module__)
    members = {name: value for name, value in vars(kind).items() if _is_member(name, value)}
    paths = {name: _paths(value) for name, value in members.items()}
    every = set[str]().union(*paths.values())
    if not file and not every and kind.__module__ not in ("__main__", "builtins"):
        return []  # a type of C
    files = []
    if file and not is_released(file) and (not every or file in every):
        files = [code_digest(file, vars(kind).get("_defined", 0))]
        members = {name: value for name, value in members.items() if paths[name] or not any(_functions(value))}
    # Of a class without functions it is not known whether the file defines it, or a notebook.
    defined = file in every or (not every and is_released(file) and kind.__module__ != "__main__")
    if defined and (is_released(file) or "<locals>" not in kind.__qualname__):
        members = {name: value for name, value in members.items() if _is_patch(kind, name, file)}
    return [*files, *_each(members, memo)]


def _is_released(kind: type) -> bool:
    if kind.__module__ == "builtins":
        return not kind.__flags__ & HEAP
    return kind.__module__ in sys.stdlib_module_names or is_released(file_of(kind.__module__))


def _is_member(name: str, value: Any) -> bool:
    """Whether an attribute is one that the body of a class sets, not one that Python or a base class adds."""
    return any(_functions(value)) or not (name.startswith("__") or name in ("_abc_impl", "_defined", "_body"))


def _functions(value: Any) -> Iterator[types.FunctionType]:
    if isinstance(value, types.FunctionType):
        yield value
    for name in WRAPPERS.get(type(value), ()):
        yield from _functions(getattr(value, name))


def _paths(value: Any) -> set[str]:
    """The files of the functions in a value, except of generated ones."""
    names = [function.__code__.co_filename for function in _functions(value)]
    return {real(name) for name in names if not name.startswith(GENERATED)}


def _is_patch(kind: type, name: str, file: str) -> bool:
    """Whether an attribute was given to a class after its definition, or is a function of other unreleased code."""
    body = vars(kind).get("_body")
    if body is not None:
        return body.get(name, EMPTY) is not vars(kind)[name]
    others = {function.__code__.co_filename for function in _functions(vars(kind)[name])
              if real(function.__code__.co_filename) != file
              or not function.__qualname__.startswith(f"{kind.__qualname__}.")}  # fmt: skip
    return any(not path.startswith(GENERATED) and not is_released(path) for path in others)


def described(value: Any, memo: Memo) -> Any:
    """Describe a value by plain ones, which are the same in every process; raises ``Untold``."""
    if type(value) in PLAIN:
        return [type(value).__name__, repr(value)]
    if type(value) is bytes:  # of arrays, too
        return ["bytes", hashlib.blake2b(value, digest_size=16).hexdigest()]
    if id(value) in memo:
        return ["again", memo[id(value)][0]]
    if type(value) is not tuple:  # which the compiler may share or not
        memo[id(value)] = len(memo), value
    tell = CONTAINERS.get(type(value)) or next((tell for kinds, tell in KINDS if isinstance(value, kinds)), _reduced)
    return tell(value, memo)


def _each(values: Mapping[str, Any], memo: Memo) -> list[Any]:
    """Describe values by name; ``Untold`` has the innermost name."""
    parts = []
    for name in sorted(values):
        try:
            parts.append([name, described(values[name], memo)])
        except Untold as untold:
            raise Untold(untold.args[0] or name, untold.args[1]) from None
    return parts


def _reduced(value: Any, memo: Memo) -> Any:
    """Describe an object by what pickle stores of it."""
    reduce = copyreg.dispatch_table.get(type(value))
    try:
        reduced: Any = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception:
        raise Untold("", type(value).__name__) from None
    if isinstance(reduced, str):
        return ["name", getattr(value, "__module__", ""), reduced]
    return [described(list(part) if hasattr(part, "__next__") else part, memo) for part in reduced]


def _sequence(value: Iterable[Any], memo: Memo) -> Any:
    return [type(value).__name__, *(described(entry, memo) for entry in value)]


def _set(value: Iterable[Any], memo: Memo) -> Any:
    return ["set", *sorted(digest(described(entry, dict(memo))) for entry in value)]


def _mapping(value: Mapping[Any, Any], memo: Memo) -> Any:
    return ["mapping", *([described(name, memo), described(entry, memo)] for name, entry in value.items())]


def _module(value: types.ModuleType, memo: Memo) -> Any:
    file = file_of(value.__name__)
    return ["module", value.__name__, *([code_digest(file)] if file and not is_released(file) else [])]


def _parts(value: Any, memo: Memo) -> Any:
    return [type(value).__name__, *(described(getattr(value, name), memo) for name in PARTS[type(value)])]


def _class(value: type, memo: Memo) -> Any:
    name = f"{value.__module__}.{value.__qualname__}" if _is_released(value) else value.__qualname__
    return ["class", name, *(part for base in value.__mro__ for part in _definition(base, memo))]


def _code(value: types.CodeType, memo: Memo) -> Any:
    counts = [value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags]
    names = [value.co_names, value.co_varnames, value.co_freevars]
    content = [value.co_code.hex(), value.co_exceptiontable.hex(), *names]
    return ["code", *counts, *content, *(described(constant, memo) for constant in value.co_consts)]


def _function(value: types.FunctionType, memo: Memo) -> Any:
    """A function by its name if it is released, by its files, or by its code and what this uses; with its closure."""
    code = value.__code__
    module = value.__globals__.get("__name__", "")
    path = real(code.co_filename)
    parts: list[Any] = [module]
    if not is_released(path):
        parts = [described([value.__defaults__, value.__kwdefaults__], memo)]
        parts += [code_digest(path)] if path == file_of(module) else _used(value, memo)
        parts += [described(code, memo)]
    cells = dict(zip(code.co_freevars, value.__closure__ or ()))
    filled = {name: cell.cell_contents for name, cell in cells.items() if cell != EMPTY}
    return ["function", value.__qualname__, *parts, *_each(filled, memo)]


def _used(value: types.FunctionType, memo: Memo) -> list[Any]:
    """The globals that a function uses, and the digests of unreleased code that it imports."""
    names = _names(value.__code__, "LOAD_GLOBAL", "LOAD_NAME")
    used = {name: value.__globals__[name] for name in names if name in value.__globals__}
    roots = [root for name in _names(value.__code__, "IMPORT_NAME") for root in imported(name.partition(".")[0])]
    return [*_each(used, memo), *sorted(code_digest(str(root)) for root in roots)]


def _names(code: types.CodeType, *operations: str) -> set[str]:
    """The names that the code, and the code inside it, loads or imports by these operations."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in operations}
    return names.union(*(_names(inner, *operations) for inner in code.co_consts if isinstance(inner, types.CodeType)))


EMPTY = types.CellType()
INERT = (
    type(threading.Lock()), type(threading.RLock()), ContextVar, types.MemberDescriptorType, types.GetSetDescriptorType,
)  # fmt: skip
"""Types that take no part in a result."""
CONTAINERS: Mapping[type, Kind] = {
    list: _sequence, tuple: _sequence, set: _set, frozenset: _set, dict: _mapping, types.MappingProxyType: _mapping,
}  # fmt: skip
KINDS: list[tuple[Any, Kind]] = [
    (INERT, lambda value, memo: type(value).__name__), (type, _class), (types.FunctionType, _function),
    (types.CodeType, _code), (types.ModuleType, _module), (tuple(PARTS), _parts),
]  # fmt: skip
"""How values of a type are described; other modules add theirs. What is in no table is described as pickle would."""
