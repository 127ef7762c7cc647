"""GopherRepetition: the rules by which MassiveWeb drops what repeats itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from roots.corpus.splitters import splitter_named
from roots.corpus.stage import Stage
from roots.corpus.stages.limits import above, check_limits
from roots.corpus.stages.repeats import Repeats, repeated, top_characters
from roots.corpus.stages.words import Words, words_of
from roots.errors import ConfigError
from roots.records import KEEP, Document, Drop, Verdict

TOP_N_GRAMS = {2: 0.2, 3: 0.18, 4: 0.16}
REPEATED_N_GRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_PARAGRAPH_END = re.compile(r"\n{2,}")


class GopherRepetition(Stage):
    """Drops what repeats lines, paragraphs or n-grams of words.

    All limits are fractions, 0 to 1; 1.0 switches a rule off. The reasons are named as datatrove
    names them, and come in its order: `dup_para_frac`, `dup_para_char_frac`, `dup_line_frac`,
    `dup_line_char_frac`, `top_2_gram` and so on, `duplicated_5_n_grams` and so on.

    Args:
        max_repeated_paragraphs: Most paragraphs that equal an earlier one, of all.
        max_repeated_paragraph_characters: Their characters, of all.
        max_repeated_lines: Most lines that equal an earlier one, of all.
        max_repeated_line_characters: Their characters, of all.
        max_top_n_grams: For n, what all copies of the most frequent n-gram of words may hold of the
            characters.
        max_repeated_n_grams: For n, what n-grams that come again may hold.
        words: What is a word: `whitespace`, `unicode`, `lowercase` or package.function of yours.

    Raises:
        ConfigError: A limit is below 0, an n below 2, or there is no such splitter.

    Source:
        Rae et al., arXiv:2112.11446, table A1; agrees on every document with datatrove 0.10's
        GopherRepetitionFilter under the same words.
    """

    def __init__(
        self,
        *,
        max_repeated_paragraphs: float = 0.3,
        max_repeated_paragraph_characters: float = 0.2,
        max_repeated_lines: float = 0.3,
        max_repeated_line_characters: float = 0.2,
        max_top_n_grams: Mapping[int, float] = TOP_N_GRAMS,
        max_repeated_n_grams: Mapping[int, float] = REPEATED_N_GRAMS,
        words: str = "whitespace",
    ) -> None:
        check_limits(
            max_repeated_paragraphs=max_repeated_paragraphs,
            max_repeated_paragraph_characters=max_repeated_paragraph_characters,
            max_repeated_lines=max_repeated_lines,
            max_repeated_line_characters=max_repeated_line_characters,
        )
        splitter_named(words)
        self.max_repeated_paragraphs = max_repeated_paragraphs
        self.max_repeated_paragraph_characters = max_repeated_paragraph_characters
        self.max_repeated_lines = max_repeated_lines
        self.max_repeated_line_characters = max_repeated_line_characters
        self.max_top_n_grams = _by_n("max_top_n_grams", max_top_n_grams)
        self.max_repeated_n_grams = _by_n("max_repeated_n_grams", max_repeated_n_grams)
        self.words = words

    def __call__(self, document: Document) -> Verdict:
        """Applies the rules in their order."""
        text = document.text
        return self._paragraphs(text) or self._lines(text) or self._n_grams(text) or KEEP

    def _paragraphs(self, text: str) -> Drop | None:
        paragraphs = _PARAGRAPH_END.split(text.strip())
        n_repeated, n_characters = repeated(paragraphs)
        if (found := n_repeated / len(paragraphs)) > self.max_repeated_paragraphs:
            return above("dup_para_frac", found, self.max_repeated_paragraphs)
        if (found := n_characters / len(text)) > self.max_repeated_paragraph_characters:
            return above("dup_para_char_frac", found, self.max_repeated_paragraph_characters)
        return None

    def _lines(self, text: str) -> Drop | None:
        lines = _lines_of(text)
        n_repeated, n_characters = repeated(lines)
        if (found := n_repeated / len(lines)) > self.max_repeated_lines:
            return above("dup_line_frac", found, self.max_repeated_lines)
        if (found := n_characters / len(text)) > self.max_repeated_line_characters:
            return above("dup_line_char_frac", found, self.max_repeated_line_characters)
        return None

    def _n_grams(self, text: str) -> Drop | None:
        words = words_of(text, self.words)
        return self._top_n_grams(words) or self._repeated_n_grams(words)

    def _top_n_grams(self, words: Words) -> Drop | None:
        for n, limit in self.max_top_n_grams.items():
            if len(words) < n:
                continue
            found = top_characters(words, n) / len(words.text)
            if found > limit:
                return above(f"top_{n}_gram", found, limit)
        return None

    def _repeated_n_grams(self, words: Words) -> Drop | None:
        repeats = Repeats(words)
        for n, limit in self.max_repeated_n_grams.items():
            found = repeats.above(n, limit)
            if found is not None:
                return above(f"duplicated_{n}_n_grams", found, limit)
        return None


def _lines_of(text: str) -> list[str]:
    r"""Splits at runs of newlines, as `re.split(r"\n+", text)` does."""
    lines = list(filter(None, text.split("\n")))
    if text.startswith("\n"):
        lines.insert(0, "")
    if text.endswith("\n"):
        lines.append("")
    return lines


def _by_n(setting: str, limits: Mapping[int, float]) -> dict[int, float]:
    """Takes the n as numbers, which a configuration that went through JSON has as words."""
    found = {int(n): limit for n, limit in limits.items()}
    if any(n < 2 for n in found):
        raise ConfigError(f"{setting}={found}: an n-gram has 2 words or more. Mend the keys.")
    check_limits(**{f"{setting}[{n}]": limit for n, limit in found.items()})
    return dict(sorted(found.items()))
