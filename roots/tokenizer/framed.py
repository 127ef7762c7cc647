"""Texts and pairs of texts with the special tokens around them that a network was trained with.

Which tokens those are, the tokenizer's own definition says (its post-processor): `[CLS] a [SEP] b
[SEP]` for a BERT, `<s> a </s></s> b </s>` for a RoBERTa, nothing for a GPT-2. The texts themselves
stay literal: a written `[SEP]` is text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from roots.errors import DataError
from roots.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Framed:
    """One text, or a pair, as a network reads it.

    Args:
        ids: The tokens, special ones included.
        type_ids: 0 for the first text and 1 for the second, as the tokenizer says.
        sequence_ids: Which text a token is of, 0 or 1; None for a special token.
        offsets: Which characters of its text each token stands for, from and to.
        word_ids: Which word of its text each token belongs to; None for a special token.
        was_cut: Whether tokens were left out, since they were too many.
    """

    ids: list[int]
    type_ids: list[int]
    sequence_ids: list[int | None]
    offsets: list[tuple[int, int]]
    word_ids: list[int | None]
    was_cut: bool


class Framing:
    """Frames texts for a network, cut to a length.

    Args:
        tokenizer: Its definition is taken over and not changed.
        max_tokens: Tokens of a row at most, special ones included.
        cut: Which text loses tokens where they are too many: `longest_first`, `only_first`,
            `only_second`.
        stride: Where the text that is cut becomes several rows: how many tokens neighbours share;
            -1 leaves out what is too much.

    Raises:
        DataError: The special tokens alone are more than `max_tokens`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        cut: str = "longest_first",
        stride: int = -1,
    ) -> None:
        rust = RustTokenizer.from_str(tokenizer.definition)
        rust.encode_special_tokens = True
        rust.no_padding()
        n_special = rust.num_special_tokens_to_add(is_pair=True)
        if max_tokens <= n_special + max(stride, 0):
            raise DataError(
                f"A row of {max_tokens} tokens has no room for a text: {n_special} of them are"
                f" special, and neighbours share {max(stride, 0)}. Set data.seq_len higher."
            )
        rust.enable_truncation(max_tokens, stride=max(stride, 0), strategy=cut)
        self._rust = rust
        self._windows = stride >= 0
        self._spaced = _spaces_words(json.loads(tokenizer.definition).get("pre_tokenizer"))

    def frame(self, texts: Sequence[str | tuple[str, str]]) -> list[Framed]:
        """Frames each text or pair as one row."""
        return [_framed(e) for e in self._rust.encode_batch(list(texts))]

    def ids(self, texts: Sequence[str]) -> list[tuple[list[int], bool]]:
        """Gives the tokens of each text alone, and whether some were left out."""
        encoded = self._rust.encode_batch_fast(list(texts))
        return [(each.ids, bool(each.overflowing)) for each in encoded]

    def frame_words(self, sentences: Sequence[Sequence[str]]) -> list[Framed]:
        """Frames sentences that are divided into words; `word_ids` count those words.

        Each is read as if one space stood before every word but the first: where the space is a
        part of the word's token, as in GPT-2's byte-level kind, words are given one.
        """
        space = " " if self._spaced else ""
        spaced = [[*words[:1], *(space + word for word in words[1:])] for words in sentences]
        encoded = self._rust.encode_batch(spaced, is_pretokenized=True)
        return [_framed(e) for e in encoded]

    def windows(self, texts: Sequence[str | tuple[str, str]]) -> list[list[Framed]]:
        """Frames each text or pair as as many rows as it needs; neighbours share tokens."""
        assert self._windows
        encoded = self._rust.encode_batch(list(texts))
        return [[_framed(e), *(_framed(more) for more in e.overflowing)] for e in encoded]


def _spaces_words(part: dict[str, Any] | None) -> bool:
    """Tells whether a word's token holds the space before it, which no rule adds for itself.

    So in a byte-level kind (`Ġword`) without `add_prefix_space`: a word that is encoded alone
    would be read as the continuation of the one before it.
    """
    if part is None:
        return False
    is_so = part["type"] == "ByteLevel" and not part.get("add_prefix_space", True)
    return is_so or any(_spaces_words(each) for each in part.get("pretokenizers", []))


class EndedFraming:
    """Frames texts so that each ends with the token that ends a text, as a target must.

    Where the tokenizer's own frame does not end so (a byte-level BPE has none), the token is added.

    Args:
        tokenizer: Its definition is taken over and not changed.
        max_tokens: Tokens of a row at most, special ones included.

    Raises:
        DataError: The special tokens alone are more than `max_tokens`.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        ((empty, _),) = Framing(tokenizer, max_tokens=max_tokens).ids([""])
        ends = empty[-1:] == [tokenizer.eos_id]
        self._end = [] if ends else [tokenizer.eos_id]
        self._framing = Framing(tokenizer, max_tokens=max_tokens - len(self._end))

    def ids(self, texts: Sequence[str]) -> list[tuple[list[int], bool]]:
        """Gives the tokens of each text, and whether some were left out."""
        return [(ids + self._end, was_cut) for ids, was_cut in self._framing.ids(texts)]


def _framed(encoding: Any) -> Framed:
    return Framed(
        ids=encoding.ids,
        type_ids=encoding.type_ids,
        sequence_ids=encoding.sequence_ids,
        offsets=encoding.offsets,
        word_ids=encoding.word_ids,
        was_cut=bool(encoding.overflowing),
    )
