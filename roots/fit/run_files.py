"""Run files: YAML that extends other YAML, merged deeply before anything is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from roots.errors import ConfigError
from roots.records import read_yaml

PARTS = ("trainer", "model", "data")


def read_run_files(paths: Iterable[Path | str]) -> dict[str, Any]:
    """Reads run files and merges them, later ones over earlier ones.

    Raises:
        ConfigError: A file is missing, is no YAML mapping, or extends itself.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged = merge(merged, _read(Path(path), chain=()))
    return merged


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merges two configurations deeply; `over` wins, lists are replaced whole.

    Where `over` names another class, the arguments of the class below it are dropped: they are not
    its own. `AdamW`, `roots.optim.AdamW` and `roots.optim.adamw.AdamW` are one class.
    """
    if _changes_class(under, over):
        under = {key: value for key, value in under.items() if key != "init_args"}
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def with_usual(config: dict[str, Any], flags: Sequence[str] = ()) -> dict[str, Any]:
    """Adds the arguments that a module has where nothing names them: a task's optimizer, say.

    Args:
        config: A whole configuration; where it names no class for the model, it stays as it is.
        flags: What wins over it: a class that they name is taken with its own defaults.
    """
    model = config.get("model")
    name = model.get("class_path") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(name, str):
        return config
    cls = _object_of(name if "." in name else f"roots.modules.{name}")
    given = model.get("init_args") or {}
    if not isinstance(given, dict) or not isinstance(cls, type):
        return config
    asked = signature(cls).parameters
    added = {}
    for key, value in getattr(cls, "usual", {}).items():
        is_needed = key in asked and asked[key].default is Parameter.empty
        by_flag = _arguments_of(key, flags)
        own = given.get(key)
        says_no_class = own is None or (isinstance(own, dict) and "class_path" not in own)
        if is_needed and says_no_class and None not in by_flag:
            added[key] = _filled(value, own or {}, by_flag)
    return {**config, "model": {**model, "init_args": {**given, **added}}}


def _arguments_of(key: str, flags: Sequence[str]) -> set[str | None]:
    """Names what flags say of an argument of the model: what is in it, or None for its class."""
    begins = re.compile(rf"--model\.(?:init_args\.)?{key}(?:\.init_args)?(?:\.(\w+))?(?:=|$)")
    found = filter(None, map(begins.match, flags))
    return {None if each[1] in (None, "class_path") else each[1] for each in found}


def _filled(usual: dict[str, Any], own: dict[str, Any], by_flag: Set[str | None]) -> dict[str, Any]:
    """Lays what is given over what is usual; a warm-up has its length in steps or as a share."""
    own = own if "init_args" in own or not own else {"init_args": own}  # a rate, and nothing else
    filled = merge(usual, own)
    if "warmup_steps" in (*own.get("init_args", {}), *by_flag):
        filled["init_args"].pop("warmup_fraction", None)
    return filled


def _changes_class(under: dict[str, Any], over: dict[str, Any]) -> bool:
    names = under.get("class_path"), over.get("class_path")
    return None not in names and not _is_one_class(str(names[0]), str(names[1]))


def _is_one_class(one: str, other: str) -> bool:
    """Tells whether two names are of one class; imports it only where they may be."""
    if one == other:
        return True
    if one.rpartition(".")[2] != other.rpartition(".")[2]:
        return False
    if "." in one and "." in other:
        return _object_of(one) is _object_of(other)
    return max(one, other, key=len).startswith(
        "roots."
    )  # without a path, it is one of ours that is meant


def _object_of(name: str) -> Any:
    """Finds what a dotted name stands for; the name itself where there is nothing."""
    module, _, last = name.rpartition(".")
    try:
        return getattr(import_module(module), last)
    except (ImportError, AttributeError, ValueError):  # the parser tells it
        return name


def _read(path: Path, *, chain: tuple[Path, ...]) -> dict[str, Any]:
    where = path.resolve()
    if where in chain:
        circle = " → ".join(p.name for p in (*chain[chain.index(where) :], where))
        raise ConfigError(f"{path} extends itself: {circle}. Remove one of these `extends`.")
    content = _load(path, asked_by=chain[-1] if chain else None)
    bases = content.pop("extends", [])
    if not isinstance(bases, list):
        bases = [bases]
    merged: dict[str, Any] = {}
    for base in bases:
        merged = merge(merged, _read(path.parent / str(base), chain=(*chain, where)))
    return merge(merged, content)


def _load(path: Path, *, asked_by: Path | None) -> dict[str, Any]:
    content = read_yaml(path, origin=f", which {asked_by} extends" if asked_by else "")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds a {type(content).__name__}, not `key: value` lines."
            " See configs/run/quickstart.yaml for a run file."
        )
    return with_whole_parts(content, where=str(path))


def with_whole_parts(config: dict[str, Any], where: str) -> dict[str, Any]:
    """Leaves out parts that say nothing, as one whose lines are all comments.

    Args:
        config: Of a run, or what one file says of it.
        where: Where it stands, for the message.

    Raises:
        ConfigError: A part is neither a block nor a name.
    """
    found = {k: v for k, v in config.items() if not (k in PARTS and v is None)}
    for part in PARTS:
        value = found.get(part, {})
        if not isinstance(value, (dict, str)):
            raise ConfigError(
                f"{where} has {part}: {value!r}, which is no block of `key: value` lines. Write its"
                f" settings below `{part}:`, or leave it out."
            )
    return found
