"""Which special token has which role, where no file says it.

So in the oldest folders on the hub (bert-base-chinese, gpt2, roberta-base): their files name no
token, and transformers knows them by its class. The definition tells the same: by the tokens that
it puts around a text, and by names that are always meant so.
"""

from __future__ import annotations

import json
from typing import Any

_NAMES = {
    "eos_token": ("</s>", "<|endoftext|>"),
    "bos_token": ("<s>",),
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "mask_token": ("[MASK]", "<mask>"),
    "sep_token": ("[SEP]",),
    "cls_token": ("[CLS]",),
}
_AROUND = {(1, 1): ("cls_token", "sep_token"), (1, 0): ("bos_token",), (0, 1): ("eos_token",)}
"""The roles of the tokens before and behind a text, by how many they are."""


def roles_told_by(definition: str) -> dict[str, str]:
    """Tells the roles of the special tokens of a `tokenizer.json`, as far as it tells them."""
    told = json.loads(definition)
    special = set(special_tokens(definition))
    by_name = {
        role: next((name for name in names if name in special), "")
        for role, names in _NAMES.items()
    }
    named = {role: name for role, name in by_name.items() if name}
    return named | _around_a_text(told.get("post_processor") or {})


def special_tokens(definition: str) -> list[str]:
    """Lists the special tokens of a `tokenizer.json`."""
    added = json.loads(definition).get("added_tokens") or []
    return [token["content"] for token in added if token.get("special")]


def _around_a_text(part: dict[str, Any]) -> dict[str, str]:
    """Tells the roles of the tokens that a post-processor puts before and behind a text."""
    kind = part.get("type")
    if kind == "Sequence":
        return {k: v for each in part["processors"] for k, v in _around_a_text(each).items()}
    if kind in ("BertProcessing", "RobertaProcessing"):
        return {"cls_token": part["cls"][0], "sep_token": part["sep"][0]}
    pieces = [piece.get("SpecialToken", {}).get("id", "") for piece in part.get("single", [])]
    if kind != "TemplateProcessing" or "" not in pieces:
        return {}
    text = pieces.index("")
    before, behind = pieces[:text], pieces[text + 1 :]
    roles = _AROUND.get((len(before), len(behind)), ())
    return dict(zip(roles, [*before, *behind], strict=False))
