"""What a run ran on, then and now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from roots.errors import CheckpointError
from roots.runs import Run, environment_of

COMPARED = ("python", "packages", "hardware", "arithmetic", "code", "code_of_roots", "data")
SUMS = ("diff_sha256", "untracked_sha256")
"""Of the code: what differs from its commit. Older versions wrote none, or the first."""
UNKNOWN = "not recorded"


def recorded(run: Run) -> dict[str, Any]:
    """Reads what a run wrote of its surroundings when it began.

    Raises:
        CheckpointError: It wrote nothing, or the file is damaged.
    """
    told = environment_of(run)
    if not told:
        raise CheckpointError(
            f"{run.path} has no environment.json, so nobody knows what the run ran on. Bring the"
            " file back from a copy; or train the configuration as a new run: roots fit --config"
            f" {run.config_file}."
        )
    return told


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists where two records of surroundings differ, as `name: then → now`.

    A part that an older version did not record at all is left out.
    """
    parts = [part for part in COMPARED if part in then]
    before, after = (_flat({part: side.get(part, {}) for part in parts}) for side in (then, now))
    names = [name for name in {**before, **after} if name != "data.path"]
    return [
        f"{name}: {_worded(before, name)} → {_worded(after, name)}"
        for name in names
        if before.get(name) != after.get(name) and not _is_news(name, before)
    ]


def doubts(then: Mapping[str, Any]) -> list[str]:
    """Says what the first run's own record leaves open, whatever there is now."""
    code = then.get("code") or {}
    if not code:
        return ["The first run was not in a git repository: the code that it ran is not known."]
    is_summed = any(code.get(name) for name in SUMS) and SUMS[1] in code
    if code.get("changed") and not is_summed:
        return [
            f"The first run had files that differ from commit {str(code.get('commit'))[:12]} or are"
            " not in it: the code that it ran is not known for certain."
        ]
    return []


def _is_news(name: str, before: Mapping[str, Any]) -> bool:
    """Whether an older version did not write this down, so that nothing can be said of it."""
    return name.rpartition(".")[2] in SUMS and name not in before


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, part in value.items():
        found |= _flat(part, f"{prefix}.{name}" if prefix else name)
    return found


def _worded(side: Mapping[str, Any], name: str) -> str:
    if name not in side:
        return UNKNOWN
    value = side[name]
    text = value if isinstance(value, str) else json.dumps(value)
    is_sum = name.endswith(("fingerprint", "sha256", "commit"))
    return (text[:12] if is_sum else text) or "none"
