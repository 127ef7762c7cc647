"""The files of a tokenizer as text, and what they say of special tokens and the chat template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roots.errors import DataError

SETTINGS = "tokenizer_config.json"
_SPECIAL_MAP = "special_tokens_map.json"
_CHAT_TEMPLATE = "chat_template.jinja"
ROLES = (
    "eos_token",
    "bos_token",
    "pad_token",
    "unk_token",
    "mask_token",
    "sep_token",
    "cls_token",
)


def read_settings(folder: Path) -> dict[str, Any]:
    """Merges what the files beside a `tokenizer.json` say.

    Raises:
        DataError: One cannot be read, or is damaged.
    """
    merged: dict[str, Any] = {}
    for name in (_SPECIAL_MAP, SETTINGS):
        if (folder / name).is_file():
            merged |= {
                key: value for key, value in _json(folder / name).items() if value is not None
            }
    for role in ROLES:
        if isinstance(merged.get(role), dict):  # an AddedToken, written out
            merged[role] = merged[role]["content"]
    if (folder / _CHAT_TEMPLATE).is_file():
        merged["chat_template"] = read_text(folder / _CHAT_TEMPLATE)
    return merged


def read_text(path: Path) -> str:
    """Reads a file of a tokenizer.

    Raises:
        DataError: It cannot be read, or is no text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is no text in UTF-8 ({error.reason} at byte {error.start:,}). Fetch or"
            " save it again."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read: {error.strerror}. Make it a file that you may read."
        ) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path.name} is not JSON: {error}. Fetch or save it again.") from error
    if not isinstance(read, dict):
        raise DataError(f"{path.name} holds no JSON object. Fetch or save it again.")
    return read
