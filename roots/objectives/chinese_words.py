"""Chinese words in a row of tokens, as jieba finds them: no mark tells where they begin.

Shape letters: B rows, T tokens in a row, V vocabulary.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from importlib import import_module

import numpy as np
from jaxtyping import Bool, Int64

from roots.errors import MissingExtra
from roots.objectives.words import read_pieces
from roots.tokenizer import Tokenizer

_ENDS = b"\n"  # no word of a segmenter lies across it


class ChineseWords:
    """Words as a segmenter finds them in the text that a row's tokens stand for.

    A token begins a word where the segmenter begins one; characters of a word, or pieces of one,
    are hidden together. Words of other scripts stay whole too.

    Args:
        tokenizer: The one that the rows were encoded with.
        segment: Cuts a text into words that make up the text again; None takes jieba.

    Raises:
        ConfigError: The tokenizer's tokens cannot be read as text.
        MissingExtra: jieba is not installed.

    Source:
        Cui et al., arXiv:1906.08101, with jieba in place of LTP.
    """

    def __init__(
        self, tokenizer: Tokenizer, segment: Callable[[str], Iterable[str]] | None = None
    ) -> None:
        pieces = read_pieces(tokenizer)
        self.segment = segment or _jieba()
        self._texts = [text or _ENDS for text in pieces.texts]
        self._lengths = np.array([len(text) for text in self._texts], dtype=np.int64)
        self._goes_on = pieces.goes_on
        self._is_space = np.array([text == b" " for text in pieces.texts])

    def starts(self, input_ids: Int64[np.ndarray, "B T"]) -> Bool[np.ndarray, "B T"]:
        """Tells for each token whether a word begins with it; the first of a row always does."""
        starts = np.stack([self._row(row) for row in input_ids])
        starts &= ~self._goes_on[input_ids]
        starts[:, 1:] &= ~self._is_space[input_ids[:, :-1]]  # a lone space goes with its word
        starts[:, :1] = True
        return starts

    def _row(self, row: Int64[np.ndarray, " T"]) -> Bool[np.ndarray, " T"]:
        text = b"".join([self._texts[id_] for id_ in row.tolist()])
        words = self.segment(text.decode(errors="surrogateescape"))
        lengths = [len(word.encode(errors="surrogateescape")) for word in words]
        begins = np.zeros(len(text) + 1, dtype=bool)
        begins[np.cumsum([0, *lengths])] = True
        starts: Bool[np.ndarray, " T"] = begins[self._lengths[row].cumsum() - self._lengths[row]]
        return starts


def _jieba() -> Callable[[str], Iterable[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its escapes, its files left open, its pkg_resources
        try:
            jieba = import_module("jieba")
        except ImportError as error:
            raise MissingExtra(
                "masking.words: jieba needs the package jieba, which is not installed. Install it"
                " (pip install 'roots-lm[chinese]', or pip install -e '.[chinese]' in a clone), or"
                " set masking.words to tokenizer."
            ) from error
        jieba.setLogLevel("WARNING")
        jieba.initialize()
    cut: Callable[[str], Iterable[str]] = jieba.cut
    return cut
