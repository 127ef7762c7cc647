"""ExportManifest: what an exported folder says of itself, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from roots.records import as_json
from roots.shards.manifest import roots_version
from roots.shards.writer import sha256_of

MANIFEST = "manifest.json"
FORMAT = "roots-export"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class ExportManifest:
    """What an exported folder holds, and of what it was made.

    Args:
        source: The name of the run, folder or hub repository.
        step: Optimizer steps of the checkpoint; None where they are not known.
        metrics: The newest validation metrics of the checkpoint.
        trained_by: The commit that trained the run; empty where it is not known.
        dtype: Of the weights that were written, the widest.
        parameters: How many were written, shared ones once.
        input_sha256: Of the files it was made of, by name; with `base/` before it for those of the
            weights that an adapter was merged into.
        sha256: Of its own files, by name, but for this one.
        roots_version: The version of roots that wrote it.
    """

    source: str
    step: int | None
    metrics: Mapping[str, float]
    trained_by: str
    dtype: str
    parameters: int
    input_sha256: Mapping[str, str]
    sha256: Mapping[str, str]
    roots_version: str = field(default_factory=roots_version)

    def to_json(self) -> str:
        """Writes canonical JSON: sorted keys, no times, no paths, a newline at the end."""
        content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return as_json(content, indent=2, sort_keys=True) + "\n"


def read_names(folder: Path) -> set[str] | None:
    """Gives the names of the files that roots exported into `folder`; None if it did not."""
    try:
        content: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        return None
    return {MANIFEST, *content.get("sha256", {})}


def sums(folder: Path, names: list[str]) -> dict[str, str]:
    """Gives the sha256 of each file."""
    return {name: sha256_of(folder / name) for name in sorted(names)}
