"""Which class of transformers opens an exported tokenizer with the ids that it has here."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from roots.errors import DataError
from roots.networks.quiet import quiet_transformers
from roots.tokenizer import Tokenizer
from roots.tokenizer.settings import BY_DEFINITION

AUTO = "AutoTokenizer"
_PROBES = (  # the last is changed by NFC and by NFKC
    "In 2023,  don't  pay 1234567 for x_1 += 0.5;\n\n\n    return Naïve\n\n  it\t.\r\n",
    "  abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789",
    "e\u0301te\u0301 \uff21\ufb01 中文，2023年 \u0938\u094d\u0924\u0947 😀",
)


def tokenizer_class(folder: Path, tokenizer: Tokenizer) -> str:
    """Names it: `AutoTokenizer`, unless that gives other ids for texts that tell rules apart.

    Beside the configuration of some families (Qwen2, Qwen3.5), transformers takes a tokenizer for
    one of that family's, with its rules, whatever the tokenizer's files say.
    """
    try:
        with quiet_transformers():
            opened = AutoTokenizer.from_pretrained(folder)
            alike = all(
                opened(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
                for text in (_known(tokenizer, probe) for probe in _PROBES)
            )
    except Exception:  # of any kind: classes of many authors
        alike = False
    return AUTO if alike else BY_DEFINITION


def _known(tokenizer: Tokenizer, text: str) -> str:
    """Leaves out of a text the characters that the tokenizer has no token for."""
    try:
        tokenizer.encode(text)
    except DataError:
        tokens, special = tokenizer.tokens.items(), tokenizer.special_ids
        known = set().union(*(token for id_, token in tokens if id_ not in special))
        return "".join(each for each in text if each in known)
    return text
