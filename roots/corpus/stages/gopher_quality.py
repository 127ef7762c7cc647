"""GopherQuality: the rules by which MassiveWeb keeps what reads like text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roots.corpus.splitters import splitter_named
from roots.corpus.stage import Stage
from roots.corpus.stages.limits import above, below, check_limits
from roots.corpus.stages.words import ALPHABETIC, SYMBOL_FREE, Words, words_of
from roots.records import KEEP, Document, Drop, Verdict

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_ELLIPSES = ("...", "…")
_BULLETS = ("•", "-")


class GopherQuality(Stage):
    """Drops what has too few or strange words, too many symbols or bullets, or no stop words.

    The reasons are named as datatrove names them, and come in its order: `gopher_short_doc`,
    `gopher_long_doc`, `gopher_below_avg_threshold`, `gopher_above_avg_threshold` (mean word
    length), `gopher_too_many_hashes`, `gopher_too_many_ellipsis`, `gopher_too_many_bullets`,
    `gopher_too_many_end_ellipsis`, `gopher_below_alpha_threshold`, `gopher_enough_stop_words` (too
    few of them). A minimum of 0, or a maximum that nothing exceeds, switches a rule off.

    Args:
        min_words: Fewest words that are not only punctuation.
        max_words: Most of these.
        min_mean_word_length: Least mean length of these, in characters.
        max_mean_word_length: Greatest.
        max_symbols_per_word: Most `#`, and most ellipses, for each word.
        max_bullet_lines: Greatest fraction of lines that begin with a bullet.
        max_ellipsis_lines: Greatest fraction of lines that end with an ellipsis.
        min_alphabetic_words: Least fraction of words with a letter.
        min_stop_words: How many of `stop_words` a text must hold; they are English, so set this to
            0 for other languages, or give other words.
        stop_words: The stop words.
        words: What is a word: `whitespace`, `unicode`, `lowercase` or package.function of yours.

    Raises:
        ConfigError: A limit is below 0, or there is no such splitter.

    Source:
        Rae et al., arXiv:2112.11446, appendix A.1.1; agrees on every document with datatrove 0.10's
        GopherQualityFilter under the same words.
    """

    def __init__(
        self,
        *,
        min_words: int = 50,
        max_words: int = 100_000,
        min_mean_word_length: float = 3,
        max_mean_word_length: float = 10,
        max_symbols_per_word: float = 0.1,
        max_bullet_lines: float = 0.9,
        max_ellipsis_lines: float = 0.3,
        min_alphabetic_words: float = 0.8,
        min_stop_words: int = 2,
        stop_words: Sequence[str] = STOP_WORDS,
        words: str = "whitespace",
    ) -> None:
        check_limits(
            min_words=min_words,
            max_words=max_words,
            min_mean_word_length=min_mean_word_length,
            max_mean_word_length=max_mean_word_length,
            max_symbols_per_word=max_symbols_per_word,
            max_bullet_lines=max_bullet_lines,
            max_ellipsis_lines=max_ellipsis_lines,
            min_alphabetic_words=min_alphabetic_words,
            min_stop_words=min_stop_words,
        )
        splitter_named(words)
        self.min_words = min_words
        self.max_words = max_words
        self.min_mean_word_length = min_mean_word_length
        self.max_mean_word_length = max_mean_word_length
        self.max_symbols_per_word = max_symbols_per_word
        self.max_bullet_lines = max_bullet_lines
        self.max_ellipsis_lines = max_ellipsis_lines
        self.min_alphabetic_words = min_alphabetic_words
        self.min_stop_words = min_stop_words
        self.stop_words = tuple(stop_words)
        self.words = words
        self._stop_words = frozenset(stop_words)

    def __call__(self, document: Document) -> Verdict:
        """Applies the rules in their order."""
        words = words_of(document.text, self.words)
        return (
            self._lengths(words)
            or self._symbols(words)
            or self._lines(document.text)
            or self._kinds(words)
            or KEEP
        )

    def _lengths(self, words: Words) -> Drop | None:
        real = (words.flags & SYMBOL_FREE).astype(bool)
        n_words = int(np.count_nonzero(real))
        if n_words < self.min_words or n_words == 0:
            return below("gopher_short_doc", n_words, max(self.min_words, 1))
        if n_words > self.max_words:
            return above("gopher_long_doc", n_words, self.max_words)
        mean = int(words.lengths[real].sum()) / n_words
        if mean < self.min_mean_word_length:
            return below("gopher_below_avg_threshold", mean, self.min_mean_word_length)
        if mean > self.max_mean_word_length:
            return above("gopher_above_avg_threshold", mean, self.max_mean_word_length)
        return None

    def _symbols(self, words: Words) -> Drop | None:
        text, limit = words.text, self.max_symbols_per_word
        hashes = text.count("#") / len(words)
        if hashes > limit:
            return above("gopher_too_many_hashes", hashes, limit)
        ellipses = _count(text, _ELLIPSES) / len(words)
        if ellipses > limit:
            return above("gopher_too_many_ellipsis", ellipses, limit)
        return None

    def _lines(self, text: str) -> Drop | None:
        n_bullets, n_ellipses = _count(text, _BULLETS), _count(text, _ELLIPSES)
        if not n_bullets and not n_ellipses:
            return None
        lines = text.splitlines()
        if n_bullets / len(lines) > self.max_bullet_lines:
            found = sum(line.lstrip().startswith(_BULLETS) for line in lines) / len(lines)
            if found > self.max_bullet_lines:
                return above("gopher_too_many_bullets", found, self.max_bullet_lines)
        if n_ellipses / len(lines) > self.max_ellipsis_lines:
            found = sum(line.rstrip().endswith(_ELLIPSES) for line in lines) / len(lines)
            if found > self.max_ellipsis_lines:
                return above("gopher_too_many_end_ellipsis", found, self.max_ellipsis_lines)
        return None

    def _kinds(self, words: Words) -> Drop | None:
        alphabetic = int(np.count_nonzero(words.flags & ALPHABETIC)) / len(words)
        if alphabetic < self.min_alphabetic_words:
            return below("gopher_below_alpha_threshold", alphabetic, self.min_alphabetic_words)
        if not self.min_stop_words:
            return None
        found = len(self._stop_words.intersection(words.words))
        if found < self.min_stop_words:
            return below("gopher_enough_stop_words", found, self.min_stop_words)
        return None


def _count(text: str, signs: tuple[str, ...]) -> int:
    return sum(map(text.count, signs))
