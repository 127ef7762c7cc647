"""YAML files that a person wrote, read so that nothing of them is lost without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from roots.errors import ConfigError


def read_yaml(path: Path, *, what: str = "file", origin: str = "") -> Any:
    """Reads a YAML file in which each key of a block stands once.

    YAML's own readers take the last of two blocks of one name, and drop the first.

    Args:
        path: The file.
        what: What it is to be, for the message that it is not there.
        origin: Who asked for it, for the same: `, which run.yaml extends`.

    Returns:
        Plain values; None for a file with nothing in it.

    Raises:
        ConfigError: It is not there, cannot be read or is no YAML, or a key stands there twice.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        try:
            node = loader.get_single_node()
            _refuse_twice(node, path, set())
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise ConfigError(f"There is no {what} {path}{origin}. Correct the path.") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. Name a {what} that you may read."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        cure = _quotes(path, error) or "Correct the file there."
        raise ConfigError(f"{path} is no YAML: {error} {cure}") from error


def _quotes(path: Path, error: Exception) -> str:
    """Words the cure of the slip that run files invite: a variable within braces."""
    mark = getattr(error, "problem_mark", None)
    line = path.read_text(encoding="utf-8").splitlines()[mark.line] if mark else ""
    if "{" not in line.partition("${")[0] or "${" not in line:
        return ""
    return 'Within { } put quotes around a value with a variable: {train: "${ROOTS_DATA}/a.tsv"}.'


def _refuse_twice(node: yaml.Node | None, path: Path, seen: set[int]) -> None:
    """Looks for a key that stands twice, below a node too; what `<<` merges is another block."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))  # an anchor may be below itself
    lines: dict[tuple[str, str], int] = {}
    for part in node.value:
        for inner in part if isinstance(part, tuple) else (part,):
            _refuse_twice(inner, path, seen)
        key = part[0] if isinstance(part, tuple) else None
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        line = key.start_mark.line + 1
        if (key.tag, key.value) in lines:
            raise ConfigError(
                f"{path} has {key.value!r} twice in one block, in line"
                f" {lines[key.tag, key.value]:,} and in line {line:,}: the first would be lost."
                " Put both into one, or remove one."
            )
        lines[key.tag, key.value] = line
