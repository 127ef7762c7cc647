"""Where words begin in a row of tokens, as the tokenizer's own marks and punctuation say.

Shape letters: B rows, T tokens in a row, V vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int8, Int64
from tokenizers import Tokenizer as RustTokenizer

from roots.errors import ConfigError
from roots.tokenizer import Tokenizer
from roots.tokenizer.token_bytes import BYTE_OF

SPACE = "\u2581"
"""What SentencePiece writes for a space."""

FIRST_OF_EAST_ASIA = "\u2e80"
"""The characters from here on are written without spaces between words, or nearly all are."""

_BYTE = re.compile("<0x[0-9A-F]{2}>")
_JOINS, _WORD, _OTHER, _ENDS = range(4)


class Pieces(NamedTuple):
    """What each id stands for.

    Args:
        texts: The bytes of each id, a space that it begins with among them; none for special
            tokens and for ids that no token has.
        marked: Whether an id says of itself that a word begins with it, (V,).
        goes_on: Whether an id says of itself that it goes on with a word, (V,).
    """

    texts: list[bytes]
    marked: Bool[np.ndarray, " V"]
    goes_on: Bool[np.ndarray, " V"]


class MarkedWords:
    """Words as a tokenizer marks them.

    A WordPiece without `##` begins a word. With byte-level BPE and SentencePiece a token begins one
    that has a space before it, and so does one that is punctuation behind a letter or digit, or a
    letter or digit behind punctuation: their marks alone would join `hello` and `,`. All of it is
    read from the ids and their neighbours, by tables of the vocabulary.

    Args:
        tokenizer: The one that the rows were encoded with.

    Raises:
        ConfigError: The tokenizer does not mark where words begin.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        pieces = read_pieces(tokenizer)
        kinds = [_ends_of(text) for text in pieces.texts]
        self._marked = pieces.marked
        self._goes_on = pieces.goes_on
        self._first: Int8[np.ndarray, " V"] = np.array([first for first, _ in kinds], np.int8)
        self._last: Int8[np.ndarray, " V"] = np.array([last for _, last in kinds], np.int8)

    def starts(self, input_ids: Int64[np.ndarray, "B T"]) -> Bool[np.ndarray, "B T"]:
        """Tells for each token whether a word begins with it; the first of a row always does."""
        first, last = self._first[input_ids], self._last[input_ids]
        starts: Bool[np.ndarray, "B T"] = self._marked[input_ids]
        apart = (first[:, 1:] != last[:, :-1]) & (first[:, 1:] != _JOINS) & (last[:, :-1] != _JOINS)
        starts[:, 1:] |= (apart | (last[:, :-1] == _ENDS)) & ~self._goes_on[input_ids[:, 1:]]
        starts[:, :1] = True
        return starts


def read_pieces(tokenizer: Tokenizer) -> Pieces:
    """Reads what each id of a tokenizer stands for.

    Raises:
        ConfigError: The tokenizer does not mark where words begin.
    """
    definition = json.loads(tokenizer.definition)
    vocabulary = RustTokenizer.from_str(tokenizer.definition).get_vocab(with_added_tokens=True)
    size = tokenizer.vocab_size
    pieces = Pieces([b""] * size, np.zeros(size, dtype=bool), np.zeros(size, dtype=bool))
    read = _reader(definition, vocabulary)
    for token, id_ in vocabulary.items():
        if id_ not in tokenizer.special_ids:
            piece = read(token)
            pieces.texts[id_] = piece.text
            pieces.marked[id_], pieces.goes_on[id_] = piece.marked, piece.goes_on
    return pieces


class _Piece(NamedTuple):
    text: bytes
    marked: bool
    goes_on: bool


class _WordPiece:
    """`##` goes on with a word, and what is without it begins one.

    Such a piece had a space before it, as far as we know; a Chinese character had none.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self, token: str) -> _Piece:
        if self.prefix and token.startswith(self.prefix):
            return _Piece(token.removeprefix(self.prefix).encode(), marked=False, goes_on=True)
        space = "" if token[:1] >= FIRST_OF_EAST_ASIA else " "
        return _Piece((space + token).encode(), marked=True, goes_on=False)


def _byte_level(token: str) -> _Piece:
    if any(character not in BYTE_OF for character in token):
        return _spaced(token.encode())  # added, written as it is
    return _spaced(bytes(BYTE_OF[character] for character in token))


def _sentence_piece(token: str) -> _Piece:
    if _BYTE.fullmatch(token):
        return _spaced(bytes([int(token[3:5], 16)]))
    return _spaced(token.replace(SPACE, " ").encode())


def _spaced(text: bytes) -> _Piece:
    """Reads the marks of a piece that holds the space before it."""
    inside = 0x80 <= text[0] < 0xC0  # the middle of a character
    return _Piece(text, marked=text[:1].isspace(), goes_on=inside)


def _reader(definition: dict[str, Any], vocabulary: dict[str, int]) -> Callable[[str], _Piece]:
    """Chooses how a token of this tokenizer is read."""
    model = definition["model"]
    parts = json.dumps([definition.get("pre_tokenizer"), definition.get("decoder")])
    if model["type"] == "WordPiece":
        return _WordPiece(model.get("continuing_subword_prefix", "##"))
    if '"ByteLevel"' in parts:
        return _byte_level
    if any(token.startswith(SPACE) for token in vocabulary):
        return _sentence_piece
    raise ConfigError(
        f"The tokenizer ({model['type']}, {len(vocabulary):,} tokens) does not mark where words"
        f" begin: it is neither WordPiece (##) nor byte-level (Ġ) nor SentencePiece ({SPACE})."
        " Set masking.unit to token, or use such a tokenizer."
    )


def _ends_of(text: bytes) -> tuple[int, int]:
    """Says what a token begins and ends with: a letter or digit, something else, or a space."""
    written = text.decode(errors="replace")
    inner = written.strip()
    if not inner:
        return _JOINS, _ENDS if written.strip(" ") else _JOINS  # a lone space goes with its word
    last = _kind_of(inner[-1]) if written[-1] == inner[-1] else _ENDS
    return _kind_of(inner[0]), last


def _kind_of(character: str) -> int:
    """Counts what is no ASCII punctuation among the letters: parts of characters too."""
    return _WORD if character.isalnum() or ord(character) >= 0x80 else _OTHER
