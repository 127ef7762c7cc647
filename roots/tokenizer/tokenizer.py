"""Tokenizer: one face for every tokenizer, on the `tokenizers` library alone.

Text is always literal here: a written `<|endoftext|>` is encoded as the text that it is, and no
special token is added. Who wants one appends its id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as RustTokenizer

from roots.errors import DataError
from roots.records import Vocabulary
from roots.stores import is_file, located
from roots.tokenizer.roles import roles_told_by, special_tokens
from roots.tokenizer.settings import (
    ROLES,
    SETTINGS,
    by_definition,
    read_settings,
    read_text,
)
from roots.tokenizer.token_bytes import byte_length_of

_DEFINITION = "tokenizer.json"
_EVERY_CHARACTER = ({"Regex": r"[\s\S]"}, "Isolated", False)
_LACKING_SHOWN = 10


class Tokenizer:
    """Turns text into token ids and back.

    Args:
        definition: The text of a `tokenizer.json`.
        settings: What a `tokenizer_config.json` says: `eos_token`, `bos_token`, `pad_token`, … .
            Where it names no token that ends a document, the definition tells the roles.

    Raises:
        DataError: The definition is damaged, or no token ends a document.
    """

    def __init__(self, *, definition: str, settings: Mapping[str, Any]) -> None:
        self.definition = definition
        self.settings = dict(settings)
        self._rust = _parsed(definition)
        if not (self.settings.get("eos_token") or self.settings.get("sep_token")):
            self.settings = roles_told_by(definition) | self.settings
        self.eos_id = self._eos()
        """Ends a document: `eos_token`, or the `sep_token` of a BERT."""
        self.bos_id = self._role("bos_token", "cls_token", default=self.eos_id)
        """Begins a document: `bos_token` or `cls_token`; `eos_id` where there is neither."""
        self.pad_id = self._role("pad_token", default=self.eos_id)
        """Fills a row: `pad_token`; `eos_id` where there is none."""

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Opens the tokenizer in `folder`, as roots or Hugging Face saved it.

        Raises:
            DataError: A file is missing or damaged, or no token ends a document.
        """
        folder = located(folder)
        path = folder / _DEFINITION
        if not is_file(path):
            raise DataError(
                f"{folder} holds no {_DEFINITION}, so it is not a tokenizer that roots can open."
                " Write one with transformers:"
                f" AutoTokenizer.from_pretrained(…).save_pretrained('{folder}')."
            )
        try:
            return cls(definition=read_text(path), settings=read_settings(folder))
        except DataError as error:
            raise DataError(f"{folder}: {error}") from error

    def save(self, folder: str | Path) -> None:
        """Writes files that `load` and transformers' `AutoTokenizer.from_pretrained` open.

        Beside the config.json of a Qwen2, Qwen3.5 and few others, AutoTokenizer takes their own
        rules whatever these files say; `PreTrainedTokenizerFast.from_pretrained` takes these.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "clean_up_tokenization_spaces": False,
            **by_definition(self.settings),
            "eos_token": self._rust.id_to_token(self.eos_id),
            "pad_token": self._rust.id_to_token(self.pad_id),
        }
        if "bos_token" in self.settings:  # else a chat template would begin otherwise than here
            settings["bos_token"] = self._rust.id_to_token(self.bos_id)
        text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / _DEFINITION).write_text(self.definition, encoding="utf-8", newline="")
        (folder / SETTINGS).write_text(text, encoding="utf-8", newline="")

    def encode(self, text: str) -> list[int]:
        """Encodes `text` literally: no special token is recognised in it, none is added.

        Raises:
            DataError: The vocabulary lacks a part of the text, and has no token for the unknown.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes each text like `encode`, on several cores."""
        try:
            encodings = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
        except Exception as error:  # the library raises a bare Exception
            raise DataError(self._lacks(texts, str(error))) from error
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Turns ids into text; special tokens are written out, an unknown id gives nothing."""
        text: str = self._rust.decode(list(ids), skip_special_tokens=False)
        return text

    def decode_text(self, ids: Iterable[int]) -> str:
        """Turns ids into text, without the special tokens."""
        return self.decode(id_ for id_ in ids if id_ not in self.special_ids)

    def token_id(self, token: str) -> int | None:
        """Finds the id of a token by its written form, such as `<mask>`."""
        found: int | None = self._rust.token_to_id(token)
        return found

    @property
    def mask_id(self) -> int | None:
        """The id that hides a token from a masked model, where the tokenizer has one."""
        token = self.settings.get("mask_token")
        return None if token is None else self.token_id(token)

    @property
    def vocabulary(self) -> Vocabulary:
        """What a network must know of the tokens."""
        return Vocabulary(
            size=self.vocab_size,
            eos_id=self.eos_id,
            bos_id=self.bos_id,
            pad_id=self.pad_id,
            mask_id=self.mask_id,
        )

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text: `<|endoftext|>`, `[CLS]`, `<mask>`, … ."""
        added = self._rust.get_added_tokens_decoder()
        return frozenset(id_ for id_, token in added.items() if token.special)

    @cached_property
    def vocab_size(self) -> int:
        """How many rows an embedding needs: the largest id + 1, added tokens included."""
        return 1 + max(self._rust.get_vocab(with_added_tokens=True).values())

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the definition as canonical JSON: equal for equal tokenizers."""
        definition = json.loads(self.definition)
        canonical = json.dumps(definition, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def tokens(self) -> dict[int, str]:
        """The written form of each token by its id, added tokens included."""
        vocabulary = self._rust.get_vocab(with_added_tokens=True)
        return {id_: token for token, id_ in vocabulary.items()}

    def byte_lengths(self) -> npt.NDArray[np.int64]:
        """Counts the UTF-8 bytes of text that each id stands for, to turn nats into bits per byte.

        Byte-level BPE: exact; the lengths of a text's ids add up to the bytes of the text (as its
        normaliser, such as NFC in Qwen, leaves it; a prefix space that it adds counts as one).
        SentencePiece kinds (Unigram, BPE with byte fallback): a word's `▁` counts as the one byte
        of its space, `<0x0A>` as one; exact but for the space that is put before the first word.
        Word-level kinds, such as a token per character: the bytes of the token.
        WordPiece: the bytes of the piece without `##`. Spaces belong to no piece, so the sum is
        the text's bytes without its white space, lower-cased where the tokenizer does that.
        Special tokens, and ids that no token has, count 0.

        Returns:
            (V,) int64.
        """
        lengths = np.zeros(self.vocab_size, dtype=np.int64)
        measure = byte_length_of(json.loads(self.definition))
        for token, id_ in self._rust.get_vocab(with_added_tokens=True).items():
            lengths[id_] = measure(token)
        for id_, added in self._rust.get_added_tokens_decoder().items():
            lengths[id_] = 0 if added.special else len(added.content.encode())
        return lengths

    @property
    def cuts_at_lines(self) -> bool:
        r"""Tells whether a text may be encoded in parts, cut between `x\n` and `y` (neither blank).

        Proven for the pre-tokenizer of GPT-2 without a normaliser. Its expression is
        `'s|…| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`: a lone `\n` after `x` begins a
        match of white space only, which `y` ends; so a match ends at the cut, in the whole text
        and in the part alike, and no alternative looks behind. Special tokens are not recognised
        in a text, so those that are added may hold anything. Where every character is a token of
        its own, any cut is right.
        """
        definition = json.loads(self.definition)
        before = definition.get("pre_tokenizer") or {}
        split = tuple(before.get(key) for key in ("pattern", "behavior", "invert"))
        like_gpt2 = (
            before.get("type") == "ByteLevel"
            and before.get("use_regex", True)
            and not before.get("add_prefix_space", True)
        )
        return (
            definition.get("normalizer") is None
            and (like_gpt2 or split == _EVERY_CHARACTER)
            and all(token["special"] for token in definition.get("added_tokens", []))
        )

    def _lacks(self, texts: Sequence[str], error: str) -> str:
        """Says which characters no token has, where that is why a text could not be encoded."""
        known = set().union(*self._rust.get_vocab(with_added_tokens=False))
        lacking = sorted(set().union(*texts) - known)
        if not lacking:
            return f"The tokenizer cannot encode a text: {error}."
        shown = ", ".join(f"{each!r} (U+{ord(each):04X})" for each in lacking[:_LACKING_SHOWN])
        more = (
            f" and {len(lacking) - _LACKING_SHOWN:,} more" if len(lacking) > _LACKING_SHOWN else ""
        )
        return (
            f"The vocabulary of {self.vocab_size:,} has no token for {shown}{more}. Leave such"
            " characters out of the text, or make the tokenizer with them"
            " (roots.corpus.Characters: extra_characters)."
        )

    def _eos(self) -> int:
        found = self._role("eos_token", "sep_token", default=-1)
        if found < 0:
            named = {role: self.settings[role] for role in ROLES if role in self.settings}
            special = ", ".join(special_tokens(self.definition)) or "none"
            raise DataError(
                f"no token ends a document: {SETTINGS} names neither eos_token nor sep_token"
                f" that the vocabulary of {self.vocab_size:,} has (it names {named or 'none'})."
                f' Write {{"eos_token": "…"}} into {SETTINGS}, with the token that ends one in its'
                f" place; the special tokens are {special}."
            )
        return found

    def _role(self, *roles: str, default: int) -> int:
        for role in roles:
            token = self.settings.get(role)
            found = None if token is None else self.token_id(token)
            if found is not None:
                return found
        return default


def _parsed(definition: str) -> RustTokenizer:
    try:
        rust = RustTokenizer.from_str(definition)
    except Exception as error:  # the library raises a bare Exception
        raise DataError(
            f"{_DEFINITION} ({len(definition):,} characters) is damaged or of an unknown kind:"
            f" {error}. Fetch or save it again, or update tokenizers."
        ) from error
    if not rust.get_vocab_size(with_added_tokens=True):
        raise DataError(f"{_DEFINITION} has a vocabulary of no tokens. Fetch or save it again.")
    rust.encode_special_tokens = True
    rust.no_truncation()
    rust.no_padding()
    return rust
