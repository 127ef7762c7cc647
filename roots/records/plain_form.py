"""The plain form of a configured object, there and back."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from roots.errors import CheckpointError, ConfigError

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Turns a configured object into plain values: dictionaries, lists, strings, numbers.

    It relies on the rule that a constructor's arguments are kept under their names; an object with
    a `spec` of its own is asked for that. The class is named by the package that exports it.

    Returns:
        `{"class_path": …, "init_args": …}` for an object; values and containers item by item.

    Raises:
        ConfigError: An object does not say what it was made with.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "spec"):
        return value.spec
    kind = type(value)
    names = [] if kind.__init__ is object.__init__ else list(inspect.signature(kind).parameters)
    missing = [name for name in names if not hasattr(value, name)]
    if missing:
        raise ConfigError(
            f"{class_path(kind)} does not keep its argument {missing[0]!r} as an attribute,"
            " so its configuration cannot be saved. Assign it in __init__ under the same name, or"
            " give {'class_path': …, 'init_args': {…}} in place of the object."
        )
    arguments = {name: plain(getattr(value, name)) for name in names}
    return {"class_path": class_path(kind), "init_args": arguments}


def class_path(cls: type) -> str:
    """Names a class by the shortest package that exports it: `roots.optim.AdamW`, not its file."""
    parts = cls.__module__.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        if length > 1 and getattr(importlib.import_module(package), cls.__name__, None) is cls:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def rebuild(spec: T | Mapping[str, Any], base: type[T]) -> T:
    """Makes the object that `plain` described; an object is given back as it is.

    What its arguments describe in turn is made where the constructor names a class for it.

    Args:
        spec: `{"class_path": …, "init_args": …}`, perhaps from a checkpoint of somebody else.
        base: The class it must be of: nothing else is called.

    Raises:
        CheckpointError: The class does not exist, or is no `base`.
    """
    if not isinstance(spec, Mapping):
        return spec
    made: T = _made(spec, [base])
    return made


def _made(spec: Mapping[str, Any], bases: Sequence[type]) -> Any:
    """Makes an object of the class that is named, when it is one of `bases`."""
    path = str(spec.get("class_path"))
    package, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"There is no class {path}: {error}. Install or put on the Python path"
            " what defines it, or correct the name."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, tuple(bases))):
        raise CheckpointError(
            f"{path} is no {' or '.join(base.__name__ for base in bases)}, so it is not made from"
            " this configuration. Name a class that is one."
        )
    kinds = {} if cls.__init__ is object.__init__ else get_type_hints(cls.__init__)
    arguments = spec.get("init_args", {})
    return cls(**{name: _rebuilt(value, kinds.get(name)) for name, value in arguments.items()})


def _rebuilt(value: Any, kind: Any) -> Any:
    """Makes an argument of the kind that the constructor names: objects, also within containers.

    Of a union, an object is of the class that is named, and a container of the kind that holds it.
    """
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if isinstance(value, list):
        holder = _container(kinds, Sequence)
        inner = next((each for each in get_args(holder) if each is not Ellipsis), None)
        items = [_rebuilt(item, inner) for item in value]
        return tuple(items) if get_origin(holder) is tuple else items
    if not isinstance(value, Mapping):
        return value
    if "class_path" not in value:
        holder = _container(kinds, Mapping)
        inner = get_args(holder)[-1] if holder else None
        return {name: _rebuilt(item, inner) for name, item in value.items()}
    ours = [k for k in kinds if isinstance(k, type) and k.__module__ not in ("builtins", "typing")]
    return _made(value, ours) if ours else value


def _container(kinds: Sequence[Any], of: type) -> Any:
    """Finds the first kind that says what a list, or a table, holds."""
    found = (k for k in kinds if isinstance(get_origin(k), type) and issubclass(get_origin(k), of))
    return next(found, None)
