"""Weights that an adapter is put on: where their files lie, and how they are known again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roots.errors import CheckpointError, first_line
from roots.networks.reading import files_read
from roots.runs import network_folder
from roots.shards.writer import sha256_of

READ_FILES = (".safetensors", ".json", ".jinja")
"""How the names of files end that a network and its tokenizer are read from."""
_SECOND_FORMS = ["*/*.safetensors", "*/*.json", "consolidated*"]
"""Weights that some repositories hold once more, in folders (`original`, `onnx`) or beside."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_BASE = "adapter_base.json"
"""The record of the weights that an adapter was trained on; peft, which knows no sums, skips it."""


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
        name, which = network_folder(path), revision
        while name:
            folder = local_folder(name, which)
            for file in files_read(folder):
                found.update(f"{file.name} {sha256_of(file)}\n".encode())
            name, which = adapter_base(folder), adapter_revision(folder)
        return cls(path, revision, found.hexdigest())

    @property
    def record(self) -> dict[str, str]:
        """Plain values for a checkpoint."""
        return asdict(self)

    @property
    def place(self) -> tuple[str, str | None]:
        """Where they are found again: a whole path, or a name on the hub and a commit."""
        name = network_folder(self.path)
        if Path(name).is_dir():
            return str(Path(name).resolve()), None
        return name, local_folder(name, self.revision).name

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


def adapter_revision(folder: str | Path) -> str:
    """Gives the revision of the base on the hub; `main` where the adapter names none."""
    file = Path(folder) / ADAPTER_CONFIG
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return str(told.get("revision") or "main")


def check_base(folder: str | Path) -> None:
    """Raises CheckpointError when an adapter was trained on other weights than its base has now.

    The base is read whole for it. An adapter without a record, of others or of an older version,
    is taken as it is.
    """
    record, config = Path(folder) / ADAPTER_BASE, Path(folder) / ADAPTER_CONFIG
    if not record.is_file():
        return
    base, revision = adapter_base(folder), adapter_revision(folder)
    try:
        saved = str(json.loads(record.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{record} is damaged: {error!r}. Bring it back from a copy; without it the adapter is"
            " taken for one of the weights that lie at its base now."
        ) from error
    found = BaseWeights.of(base, revision).sha256
    if found != saved:
        raise CheckpointError(
            f"The adapter in {folder} was trained on other weights ({saved[:12]}) than those that"
            f" are at {base} now ({found[:12]}): merged, they would be neither. Bring the old ones"
            f" back, or write where they are into {config} (base_model_name_or_path, revision)."
        )


def local_folder(name: str, revision: str | None = None) -> Path:
    """Gives the folder of weights, on the hub of those that were fetched."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, revision=revision, local_files_only=True))


def fetched(name: str, revision: str | None = None) -> Path:
    """Gives the folder of a network on the hub, fetched where it is not here: no second forms."""
    from huggingface_hub import snapshot_download

    which = [f"*{ending}" for ending in READ_FILES]
    return Path(
        snapshot_download(
            name, revision=revision, allow_patterns=which, ignore_patterns=_SECOND_FORMS
        )
    )


def fetched_base(folder: str | Path) -> Path:
    """Gives the folder that an adapter lies on, fetched from the hub where it is not here.

    Raises:
        CheckpointError: It is on the hub, and cannot be fetched from there.
    """
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    base, revision = adapter_base(folder), adapter_revision(folder)
    try:
        return local_folder(base, revision)
    except LocalEntryNotFoundError:
        pass
    try:
        return fetched(base, revision)
    except (OSError, HFValidationError) as error:  # HTTP errors of the hub are OSErrors
        raise CheckpointError(
            f"The adapter in {folder} lies on the weights of {base} ({revision}), which are not on"
            f" this machine and cannot be fetched from the Hugging Face hub: {first_line(error)}"
            f" Fetch them where the hub is reached (hf download {base} --revision {revision}), or"
            f" write a folder that holds them into {Path(folder) / ADAPTER_CONFIG}"
            " (base_model_name_or_path)."
        ) from error


def _looks_local(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1
