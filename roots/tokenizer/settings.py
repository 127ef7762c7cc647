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
BY_DEFINITION = "PreTrainedTokenizerFast"
"""The class of transformers that takes all rules from `tokenizer.json`."""
_REPEATING = (
    *("AlbertTokenizer", "BartTokenizer", "CamembertTokenizer", "CodeGenTokenizer"),
    *("DistilBertTokenizer", "GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer"),
    *("Qwen3_5Tokenizer", "RobertaTokenizer", "XGLMTokenizer", "XLMRobertaTokenizer"),
)
_PADDING_LEFT = ("GemmaTokenizer", "LlamaTokenizer")
_TYPING = (
    *("BertTokenizer", "ConvBertTokenizer", "DebertaTokenizer", "DebertaV2Tokenizer"),
    *("ElectraTokenizer", "MobileBertTokenizer"),
)
_BESIDE: dict[str, dict[str, Any]] = {
    **{name: {} for name in _REPEATING},
    **{name: {"padding_side": "left"} for name in _PADDING_LEFT},
    **{
        name: {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
        for name in _TYPING
    },
}
"""What classes that do nothing else but repeat their family's rules set beside them."""


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


def by_definition(settings: dict[str, Any]) -> dict[str, Any]:
    """Gives settings under which transformers takes the rules from the definition.

    A class of its own puts those of its family (how digits, spaces and accents are cut) in their
    place, so other ids come out of a definition that is not quite like its family's. Classes that
    do more, such as those for translation, are kept; code that is not written along is not named.
    """
    settings = {key: value for key, value in settings.items() if key != "auto_map"}
    name = str(settings.get("tokenizer_class", BY_DEFINITION))
    added = _BESIDE.get(name.removesuffix("Fast"))
    if added is None:
        return {"tokenizer_class": BY_DEFINITION, **settings}
    return {**added, **settings, "tokenizer_class": BY_DEFINITION}


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
