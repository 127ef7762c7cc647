"""A tokenizer by its folder, or by a name on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from roots.errors import DataError
from roots.records import expanded, is_folder
from roots.tokenizer.tokenizer import Tokenizer

_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "*.jinja"]


def fetch_tokenizer(path: str, revision: str = "main") -> Tokenizer:
    """Opens a tokenizer.

    Args:
        path: A folder with tokenizer.json, or a name on the hub.
        revision: Branch, tag or commit on the hub.

    Raises:
        DataError: There is none, or it is damaged.
    """
    return Tokenizer.load(tokenizer_folder(path, revision))


def tokenizer_folder(path: str, revision: str = "main") -> str | Path:
    """Gives the folder of a tokenizer; from the hub its files are fetched first.

    Args:
        path: A folder, or a name on the hub.
        revision: Branch, tag or commit on the hub.

    Raises:
        DataError: The hub has none of that name.
    """
    folder = Path(expanded(path))
    is_local = path.startswith((".", "/", "~")) or path.count("/") > 1
    if is_local or is_folder(folder):
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return snapshot_download(path, revision=revision, allow_patterns=_FILES)
    except (OSError, HFValidationError) as error:  # HTTP errors of the hub are OSErrors
        first_line = (str(error).strip().splitlines() or [repr(error)])[0]
        raise DataError(
            f"There is no folder {path} here (looked for {folder.absolute()}), and its tokenizer"
            f" cannot be fetched from the Hugging Face hub: {first_line} Correct the name"
            " (data.tokenizer, or network.path), or give a folder."
        ) from error
