"""What a run ran on, as it wrote it down when it began."""

from __future__ import annotations

import json
from typing import Any

from roots.errors import CheckpointError
from roots.runs.run import Run

ENVIRONMENT_FILE = "environment.json"
_BLOCKS = ("data", "teacher", "reference", "code", "hardware", "packages")
_WORDS = ("fingerprint", "validated_on")


def environment_of(run: Run, *, until: int = 0) -> dict[str, Any]:
    """Reads versions, hardware, commit and data of a run; empty where it wrote nothing.

    Args:
        run: The run.
        until: A step: read what the fit wrote that came to it, which may be a resumed one; 0 reads
            what the first wrote.

    Raises:
        CheckpointError: The file is damaged.
    """
    words = (file.stem.rpartition("-")[2] for file in run.path.glob("environment-from-*.json"))
    steps = map(int, filter(str.isdecimal, words))
    begun = max((step for step in steps if step < until), default=0)
    file = run.path / (f"environment-from-{begun:06d}.json" if begun else ENVIRONMENT_FILE)
    try:
        return _whole(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} is damaged ({error}). Bring it back from a copy, or remove it: what the run"
            " was trained on is then not known."
        ) from error


def _whole(told: Any) -> dict[str, Any]:
    """Leaves out what is null; raises ValueError for what is of another kind."""
    if not isinstance(told, dict):
        raise ValueError("it holds no `key: value` pairs")
    found = {name: part for name, part in told.items() if part is not None}
    for name in _BLOCKS:
        if not isinstance(found.get(name, {}), dict):
            raise ValueError(f"its {name} is {found[name]!r}")
    for name in _WORDS:
        if not isinstance(word := found.get("data", {}).get(name) or "", str):
            raise ValueError(f"its data.{name} is {word!r}")
    return found
