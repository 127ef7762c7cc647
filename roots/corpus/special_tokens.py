"""The special tokens of byte-level tokenizers: which ones, what for, and around what.

Beside them a check of the other setting that all trained tokenizers have.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import pre_tokenizers, processors

from roots.errors import ConfigError, nearest

END_OF_TEXT = "<|endoftext|>"
N_BYTES = 256
_SPECIAL = {"gpt2": (END_OF_TEXT,), "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>")}
_ROLES = {
    "gpt2": dict.fromkeys(("eos_token", "bos_token", "pad_token"), END_OF_TEXT),
    "roberta": {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    },
}


def special_tokens_of(kind: str, extra_tokens: Sequence[str], vocab_size: int) -> list[str]:
    """Lists the special tokens.

    Args:
        kind: `gpt2` or `roberta`.
        extra_tokens: Further ones.
        vocab_size: Must have room for them and for 256 bytes.

    Raises:
        ConfigError: There is no such kind, no room, or an extra token is empty or the sign of a
            byte.
    """
    if kind not in _SPECIAL:
        raise ConfigError(
            f"There are no special_tokens {kind!r}{nearest(kind, _SPECIAL)}. Set special_tokens to"
            f" one of {', '.join(_SPECIAL)}."
        )
    alphabet = set(pre_tokenizers.ByteLevel.alphabet())
    letters = [token for token in extra_tokens if token and not token.isascii()]
    if lost := [token for token in letters if {*token} <= alphabet]:
        raise ConfigError(
            f"extra_tokens holds {lost[0]!r}, whose letters stand for bytes in a byte-level"
            " vocabulary and would be written out as such. Use letters of ASCII."
        )
    if signs := sorted(alphabet.intersection(extra_tokens)):
        raise ConfigError(
            f"extra_tokens holds {signs[0]!r}, which a byte-level vocabulary has already, for a"
            f" byte. Write it otherwise, such as '<{signs[0]}>'."
        )
    if "" in extra_tokens:
        raise ConfigError("extra_tokens holds an empty one, which no text has. Leave it out.")
    tokens = list(dict.fromkeys([*_SPECIAL[kind], *extra_tokens]))
    needed = N_BYTES + len(tokens)
    if vocab_size < needed:
        raise ConfigError(
            f"vocab_size={vocab_size:,} has no room for the {N_BYTES} bytes and {len(tokens)}"
            f" special tokens. Set vocab_size to at least {needed:,}."
        )
    return tokens


def check_frequency(min_frequency: int) -> None:
    """Refuses a number of times that there is not.

    Raises:
        ConfigError: It is below 0.
    """
    if min_frequency < 0:
        raise ConfigError(
            f"min_frequency={min_frequency} is below 0. Set it to how often a piece must stand in"
            " the text, such as 2."
        )


def roles_of(kind: str, extra_tokens: Sequence[str]) -> dict[str, str]:
    """Tells which token is eos, bos, pad, mask and so on, as a `tokenizer_config.json` does."""
    roles = dict(_ROLES[kind])
    masks = [token for token in extra_tokens if "mask" in token.lower()]
    fillers = [token for token in extra_tokens if "pad" in token.lower()]
    if masks:
        roles.setdefault("mask_token", masks[0])
    if fillers and kind == "gpt2":
        roles["pad_token"] = fillers[0]
    return roles


def frame_texts(rust: RustTokenizer, kind: str) -> None:
    """Lets a tokenizer put the special tokens of its kind around texts and pairs."""
    if kind == "roberta":
        rust.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> </s> $B </s>",
            special_tokens=[(token, rust.token_to_id(token)) for token in ("<s>", "</s>")],
        )
