"""Weights that an adapter is put on: where their files lie, and how they are known again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError
from roots.runs import network_folder
from roots.shards.writer import sha256_of

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class BaseWeights:
    """The weights that stay as they are, and so are in no checkpoint.

    Args:
        path: The folder, or the name on the hub.
        revision: Branch, tag or commit on the hub.
        sha256: Of the files' own sums, by name.
    """

    path: str
    revision: str
    sha256: str

    @classmethod
    def of(cls, path: str, revision: str) -> BaseWeights:
        """Reads the weights' files, those that an earlier adapter lies on as well."""
        found = hashlib.sha256()
        name = network_folder(path)
        while name:
            folder = local_folder(name, revision)
            for file in sorted(folder.glob("*.safetensors")):
                found.update(f"{file.name} {sha256_of(file)}\n".encode())
            name = adapter_base(folder)
        return cls(path, revision, found.hexdigest())

    @property
    def record(self) -> dict[str, str]:
        """Plain values for a checkpoint."""
        return asdict(self)

    def check(self, saved: Any) -> None:
        """Raises CheckpointError when a checkpoint belongs to other weights."""
        if saved and saved["sha256"] == self.sha256:
            return
        other = f"{saved['path']} ({saved['sha256'][:12]})" if saved else "no base at all"
        raise CheckpointError(
            f"The checkpoint's adapter was trained on {other}, and the weights at"
            f" {self.path} are others ({self.sha256[:12]}). Bring the old ones back"
            " (network.path, network.revision), or start a new run."
        )


def adapter_base(folder: str | Path) -> str:
    """Gives the folder or hub name that the adapter in a folder lies on; empty for none there.

    Raises:
        CheckpointError: Its configuration is damaged or names no base.
    """
    file = Path(folder) / ADAPTER_CONFIG
    if not file.is_file():
        return ""
    try:
        base = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} does not say what the adapter lies on ({error!r}). Write its"
            " base_model_name_or_path there, a folder or a name on the hub."
        ) from error
    if _looks_local(str(base)) and not Path(str(base)).is_dir():
        raise CheckpointError(
            f"The adapter in {folder} lies on the weights of {base}, and there is no such folder"
            f" any more. Bring it back, or write its new place into {file}"
            " (base_model_name_or_path)."
        )
    return str(base)


def local_folder(name: str, revision: str | None = None) -> Path:
    """Gives the folder of weights, on the hub of those that were fetched."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, revision=revision, local_files_only=True))


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1
