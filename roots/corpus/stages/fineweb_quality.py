"""FineWebQuality: the rules that FineWeb adds to those of Gopher and C4."""

from __future__ import annotations

from collections.abc import Sequence

from roots.corpus.splitters import splitter_named
from roots.corpus.stage import Stage
from roots.corpus.stages.limits import above, below, check_limits
from roots.corpus.stages.punctuation import TERMINAL
from roots.corpus.stages.repeats import repeated
from roots.corpus.stages.words import words_of
from roots.errors import ConfigError
from roots.records import KEEP, Document, Drop, Verdict

LINE_ENDS = tuple(sorted(TERMINAL))


class FineWebQuality(Stage):
    """Drops lists: pages of short lines, of lines that are no sentences, or that repeat.

    The reasons are named as datatrove names them, and come in its order: `line_punct_ratio`,
    `short_line_ratio`, `char_dup_ratio`, `list_ratio`. Blank lines do not count as lines.

    The defaults are datatrove's. The paper names 0.1 for `max_repeated_characters`, ten times as
    much, and no `max_newlines_per_word`.

    Args:
        min_ended_lines: Least fraction of lines that end in one of `line_ends`; 0 switches it off.
        without_any_end: Whether a page without one such line is kept (by this rule).
        line_ends: The characters that end a sentence.
        max_short_lines: Greatest fraction of short lines.
        short_line_characters: What is short: so many characters or fewer.
        max_repeated_characters: Greatest fraction of characters in lines that equal an earlier one.
        max_newlines_per_word: Most newlines for each word.
        words: What is a word: `whitespace`, `unicode`, `lowercase` or package.function of yours.

    Raises:
        ConfigError: A limit is below 0, a line end is not one character, or no such splitter.

    Source:
        Penedo et al., arXiv:2406.17557, section 3.6; agrees on every document with datatrove 0.10's
        FineWebQualityFilter under the same words.
    """

    def __init__(
        self,
        *,
        min_ended_lines: float = 0.12,
        without_any_end: bool = False,
        line_ends: Sequence[str] = LINE_ENDS,
        max_short_lines: float = 0.67,
        short_line_characters: int = 30,
        max_repeated_characters: float = 0.01,
        max_newlines_per_word: float = 0.3,
        words: str = "whitespace",
    ) -> None:
        check_limits(
            min_ended_lines=min_ended_lines,
            max_short_lines=max_short_lines,
            short_line_characters=short_line_characters,
            max_repeated_characters=max_repeated_characters,
            max_newlines_per_word=max_newlines_per_word,
        )
        if any(len(end) != 1 for end in line_ends):
            raise ConfigError(
                f"line_ends={list(line_ends)}: each must be one character. Write ['.', '?', '!']."
            )
        splitter_named(words)
        self.min_ended_lines = min_ended_lines
        self.without_any_end = without_any_end
        self.line_ends = tuple(line_ends)
        self.max_short_lines = max_short_lines
        self.short_line_characters = short_line_characters
        self.max_repeated_characters = max_repeated_characters
        self.max_newlines_per_word = max_newlines_per_word
        self.words = words
        self._line_ends = frozenset(line_ends)

    def __call__(self, document: Document) -> Verdict:
        """Applies the rules in their order."""
        text = document.text
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        return self._ends(lines) or self._shapes(lines, text) or self._newlines(text) or KEEP

    def _ends(self, lines: list[str]) -> Drop | None:
        ends = self._line_ends
        found = sum(line[-1] in ends for line in lines) / len(lines)
        if found < self.min_ended_lines and not (found == 0 and self.without_any_end):
            return below("line_punct_ratio", found, self.min_ended_lines)
        return None

    def _shapes(self, lines: list[str], text: str) -> Drop | None:
        longest = self.short_line_characters
        found = sum(len(line) <= longest for line in lines) / len(lines)
        if found > self.max_short_lines:
            return above("short_line_ratio", found, self.max_short_lines)
        found = repeated(lines)[1] / (len(text) - text.count("\n"))
        if found > self.max_repeated_characters:
            return above("char_dup_ratio", found, self.max_repeated_characters)
        return None

    def _newlines(self, text: str) -> Drop | None:
        found = text.count("\n") / max(len(words_of(text, self.words)), 1)
        if found > self.max_newlines_per_word:
            return above("list_ratio", found, self.max_newlines_per_word)
        return None
