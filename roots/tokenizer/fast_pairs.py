r"""FastPairs: a byte-level BPE through tiktoken, with the ids that `tokenizers` gives.

That the ids are equal for every text is proved beforehand, in three parts, or the proof says what
is missing; then `tokenizers` encodes.

Around the pairs. No normaliser, no token that is recognised in a text, no prefix space, and one of
the split patterns below, which are the same in both libraries as far as their character classes
are: these are compared for every character that there is.

Pairs. `tokenizers` joins the pair of pieces that comes first in its list of merges; tiktoken the
pair whose bytes together have the lowest rank, whatever the pieces are. Let ranks follow the list.
When tiktoken joins x and y to t, no lower rank is left inside these bytes, and no join crossed
their ends: so they are as t alone would have them before its last join. If this last pair of every
t stands in the list, both take the same pair each time, by induction.

Whole words. tiktoken looks a word up before it joins anything, as `tokenizers` does only with
`ignore_merges`. Else every t alone must be joined to t, which the same look at t tells.

ASCII. There Python's `re` splits by the same patterns faster, and words come again: the ids of each
are remembered. No pattern looks behind, and only `\s+(?!\S)` looks ahead, so a word alone is one
word, and tiktoken need not split it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, pre_tokenizers

from roots.errors import DataError, MissingExtra
from roots.tokenizer.token_bytes import BYTE_OF
from roots.tokenizer.tokenizer import Tokenizer

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = (GPT2, _MODERN % "{1,3}", _MODERN % "")
"""Of GPT-2; of Llama 3; of Qwen 2 and 3, whose normaliser keeps them out as they are."""
_CLASSES = (r"\p{L}", r"\p{N}", r"\s", "(?i:[strevmld])")
_AT_ONCE = 4096
_REMEMBERED, _LONGEST = 2**18, 64
"""So many words at most, of so many characters: about 50 MB."""


class FastPairs:
    """Encodes texts; the proof is the caller's to ask for, once.

    Args:
        tokenizer: One that `why_not` has nothing against.

    Raises:
        MissingExtra: tiktoken is not installed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        definition = json.loads(tokenizer.definition)
        order, self._ids = _ranked(definition)
        pattern = pattern_of(definition)
        self._encoding = _encoding(pattern, order)
        self._tokenizer = tokenizer
        self._words = _in_ascii(pattern or GPT2)
        self._ids_of = _Remembered(self._encode_word).__getitem__

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        """Encodes a text literally, as `Tokenizer.encode` does."""
        if not text.isascii():
            return self._encode(text)
        raw = b"".join(map(self._ids_of, self._words.findall(text)))
        return np.frombuffer(raw, np.int32)

    def _encode(self, text: str) -> npt.NDArray[np.int32]:
        try:
            ranks = self._encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError:  # a run of white space that its regular expressions cannot hold
            return np.array(self._tokenizer.encode(text), np.int32)
        ids: npt.NDArray[np.int32] = self._ids[ranks]
        return ids

    def _encode_word(self, word: str) -> bytes:
        raw: bytes = self._ids[self._encoding._encode_single_piece(word)].tobytes()
        return raw


class _Remembered(dict[str, bytes]):
    """The ids of words, int32 in bytes; each is encoded when it is first asked for."""

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        self._encode = encode

    def __missing__(self, word: str) -> bytes:
        found = self._encode(word)
        if len(word) <= _LONGEST:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[word] = found
        return found


def _in_ascii(pattern: str) -> re.Pattern[str]:
    """Writes a pattern for Python; on texts of ASCII it means the same."""
    for class_, inside in ((r"\p{L}", "A-Za-z"), (r"\p{N}", "0-9")):
        pattern = re.sub(rf"(\[[^\]]*){re.escape(class_)}", rf"\g<1>{inside}", pattern)
        pattern = pattern.replace(class_, f"[{inside}]")
    return re.compile(pattern, re.ASCII)


def why_not(tokenizer: Tokenizer, sample: Sequence[str] = ()) -> str | None:
    """Proves that `FastPairs` gives the ids of `tokenizer`; where it cannot, tells why not.

    Args:
        tokenizer: Any.
        sample: Texts on which the two are also compared.
    """
    definition = json.loads(tokenizer.definition)
    reason = _around(definition)
    if reason is None:
        try:
            reason = _classes_differ() or _pairs(definition) or _texts(tokenizer, sample)
        except MissingExtra as error:
            reason = str(error)
    return reason


def pattern_of(definition: Mapping[str, Any]) -> str | None:
    """Finds the pattern by which a byte-level tokenizer splits; None where it is none of ours."""
    before = definition.get("pre_tokenizer") or {}
    if before.get("type") != "Sequence":
        return GPT2 if before.get("use_regex", True) and _is_byte_level(before) else None
    parts = before["pretokenizers"]
    if len(parts) != 2 or not _is_byte_level(parts[1]) or parts[1].get("use_regex", True):
        return None
    split, pattern = parts[0], parts[0].get("pattern", {}).get("Regex")
    plain = split.get("behavior") == "Isolated" and not split.get("invert")
    return pattern if split.get("type") == "Split" and plain and pattern in PATTERNS else None


def _is_byte_level(part: Mapping[str, Any]) -> bool:
    return part.get("type") == "ByteLevel" and not part.get("add_prefix_space", True)


def _around(definition: Mapping[str, Any]) -> str | None:
    model = definition["model"]
    if model.get("type") != "BPE" or not set(BYTE_OF) <= model["vocab"].keys():
        return "it is no byte-level BPE"
    if definition.get("normalizer") is not None:
        return f"it normalises texts ({definition['normalizer'].get('type')})"
    if pattern_of(definition) is None:
        return "it splits texts by another pattern than GPT-2, Llama 3 or Qwen"
    if any(not token["special"] for token in definition.get("added_tokens", [])):
        return "it recognises added tokens in texts"
    odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
    return next((f"it has {name}={model[name]}" for name in odd if model.get(name)), None)


def _classes_differ() -> str | None:
    """Compares the classes of the patterns in the two libraries, for all characters."""
    characters = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    for name in _CLASSES:
        encoding = _encoding(name, [bytes([byte]) for byte in range(256)])
        theirs = bytes(encoding.encode_to_numpy(characters, disallowed_special=()).tolist())
        if theirs.decode() != "".join(_matches(name, characters)):
            return f"{name} means other characters to this version of tiktoken"
    return None


def _matches(pattern: str, characters: str) -> Iterator[str]:
    """Streams the matches of `tokenizers`, which takes long over a long text."""
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    for start in range(0, len(characters), _AT_ONCE):
        for match, _ in split.pre_tokenize_str(characters[start : start + _AT_ONCE]):
            yield match


def _pairs(definition: Mapping[str, Any]) -> str | None:
    """Looks at every token alone, as tiktoken joins it."""
    merges = _merges(definition)
    order, _ = _ranked(definition)
    ranks = {token: rank for rank, token in enumerate(order)}
    so_far = -1
    for left, right in merges:
        rank = ranks[left + right]
        if rank < so_far:
            return f"its merges give {left + right!r} in two places"
        so_far = rank
    known, whole = set(merges), bool(definition["model"].get("ignore_merges"))
    for token in order:
        pieces = last_pieces(token, ranks)
        if len(pieces) == 2 and pieces not in known:
            return f"no merge gives {token!r} of {pieces[0]!r} and {pieces[1]!r}"
        if len(pieces) > 2 and not whole:
            return f"its merges never come to {token!r}"
    return None


def last_pieces(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, ...]:
    """Joins the bytes of a token by rank, up to the step that would give the token."""
    pieces = [token[i : i + 1] for i in range(len(token))]
    while len(pieces) > 2:
        pairs = [ranks.get(pieces[i] + pieces[i + 1], len(ranks)) for i in range(len(pieces) - 1)]
        least = min(pairs)
        if least == len(ranks):
            break
        place = pairs.index(least)
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return tuple(pieces)


def _texts(tokenizer: Tokenizer, sample: Sequence[str]) -> str | None:
    fast = FastPairs(tokenizer)
    for text, ids in zip(sample, tokenizer.encode_batch(sample), strict=True):
        if fast.encode(text).tolist() != ids:
            return f"tiktoken gives other ids for the text that begins {text[:40]!r}"
    return None


def _ranked(definition: Mapping[str, Any]) -> tuple[list[bytes], npt.NDArray[np.int32]]:
    """Lists tokens by rank, and the id of each: bytes, what merges give, what is only looked up."""
    model = definition["model"]
    ids = {raw: id_ for token, id_ in model["vocab"].items() if (raw := _raw(token)) is not None}
    order = dict.fromkeys(bytes([byte]) for byte in range(256))
    order |= dict.fromkeys(left + right for left, right in _merges(definition))
    if model.get("ignore_merges"):
        order |= dict.fromkeys(sorted(ids, key=lambda raw: ids[raw]))
    return list(order), np.array([ids[raw] for raw in order], np.int32)


def _merges(definition: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    written = definition["model"]["merges"]
    pairs = (each.split(" ") if isinstance(each, str) else each for each in written)
    raw = [(_raw(left), _raw(right)) for left, right in pairs]
    if any(left is None or right is None for left, right in raw):
        raise DataError("A merge of the tokenizer holds a character that stands for no byte.")
    return raw  # type: ignore[return-value]


def _raw(token: str) -> bytes | None:
    """Gives the bytes that a token of the vocabulary stands for; None where it is no such token."""
    found = [BYTE_OF.get(character, -1) for character in token]
    return None if -1 in found else bytes(found)


def _encoding(pattern: str | None, order: Sequence[bytes]) -> Any:
    try:
        import tiktoken  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtra(
            "tiktoken is not installed, with which byte pairs are encoded several times as fast."
            " Install it: pip install 'roots-lm[corpus]', or pip install -e '.[corpus]' in a clone."
        ) from error
    ranks = {token: rank for rank, token in enumerate(order)}
    return tiktoken.Encoding("roots", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
