"""C4Quality: the rules by which C4 keeps lines that read like sentences, and pages with some."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from roots.corpus.stage import Stage
from roots.corpus.stages.limits import below, check_limits
from roots.corpus.stages.sentences import sentences
from roots.records import KEEP, Document, Drop, Edit, Verdict

POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_LINE_ENDS = (".", "?", "!", '"', "'")


class C4Quality(Stage):
    """Drops lines that are no sentences, then pages that have too few of them left.

    The defaults are datatrove's, and those of an early version of the paper. Its last one and C4's
    own code have the numbers the other way round (min_sentences: 3, min_words_per_line: 5), and the
    code takes no `'` for the end of a line.

    A page is dropped as `lorem_ipsum`, `curly_bracket` or `too_few_sentences`, in datatrove's
    names; the books count the lines that were taken out by rule. Curly brackets stand in nearly all
    source code: set `curly_brackets` to false where code is wanted.

    Args:
        end_of_line: Take out lines that do not end in `.`, `?`, `!` or a quotation mark, or that
            end in an ellipsis. FineWeb leaves this rule out.
        min_sentences: Fewest sentences of what is left; 0 switches it off.
        min_words_per_line: Take out lines with fewer words (by white space).
        max_word_length: Take out lines with a longer word, in characters.
        citations: Take Wikipedia's marks (`[1]`, `[edit]`, `[citation needed]`) out of lines.
        lorem_ipsum: Drop pages with that phrase.
        javascript: Take out lines with that word.
        curly_brackets: Drop pages with `{`.
        policy_phrases: Take out lines that hold one of these, in lower case.

    Raises:
        ConfigError: A limit is below 0.

    Source:
        Raffel et al., arXiv:1910.10683, section 2.2, and its code (tensorflow_datasets,
        c4_utils.py); agrees on every document with datatrove 0.10's C4QualityFilter under the same
        sentences. The paper's list of bad words is not applied.
    """

    def __init__(
        self,
        *,
        end_of_line: bool = True,
        min_sentences: int = 5,
        min_words_per_line: int = 3,
        max_word_length: int = 1000,
        citations: bool = True,
        lorem_ipsum: bool = True,
        javascript: bool = True,
        curly_brackets: bool = True,
        policy_phrases: Sequence[str] = POLICY_PHRASES,
    ) -> None:
        check_limits(
            min_sentences=min_sentences,
            min_words_per_line=min_words_per_line,
            max_word_length=max_word_length,
        )
        self.end_of_line = end_of_line
        self.min_sentences = min_sentences
        self.min_words_per_line = min_words_per_line
        self.max_word_length = max_word_length
        self.citations = citations
        self.lorem_ipsum = lorem_ipsum
        self.javascript = javascript
        self.curly_brackets = curly_brackets
        self.policy_phrases = tuple(policy_phrases)

    def __call__(self, document: Document) -> Verdict:
        """Goes through the lines."""
        text = document.text
        page = _Page(self, text)
        kept: list[str] = []
        for line in text.splitlines():
            if page.keeps(line := line.strip()):
                kept.append(page.line)
            elif page.drop:
                return page.drop
        if page.n_sentences < self.min_sentences:
            return below("too_few_sentences", page.n_sentences, self.min_sentences)
        left = "\n".join(kept).strip()
        if left == text:
            return KEEP
        return Edit(replace(document, text=left), page.counts)


class _Page:
    """One page while its lines are read.

    Rules about phrases are asked per line only where the whole page holds the phrase, or may once
    citations are taken out.
    """

    def __init__(self, rules: C4Quality, text: str) -> None:
        self.rules = rules
        self.counts: Counter[str] = Counter()
        self.drop: Drop | None = None
        self.line = ""
        self.n_sentences = 0
        self._cites = rules.citations and bool(_CITATION.search(text))
        whole = text.lower()
        self._lorem = rules.lorem_ipsum and (self._cites or "lorem ipsum" in whole)
        self._javascript = rules.javascript and (self._cites or "javascript" in whole)
        self._curly = rules.curly_brackets and "{" in text
        phrases = rules.policy_phrases
        self._phrases = [each for each in phrases if self._cites or each in whole]

    def keeps(self, line: str) -> bool:
        """Decides about a line, and leaves in `line` what is kept of it."""
        reason = self._shape(line) or self._phrase()
        if reason:
            self.counts[reason] += 1
            return False
        if self.drop:
            return False
        if self.n_sentences < self.rules.min_sentences:
            self.n_sentences += len(sentences(self.line))
        return True

    def _shape(self, line: str) -> str:
        rules, limit = self.rules, self.rules.max_word_length
        if len(line) > limit and max(map(len, line.split()), default=0) > limit:
            return "lines with a long word"
        self.line = _CITATION.sub("", line) if self._cites else line
        if rules.end_of_line and (not self.line.endswith(_LINE_ENDS) or self.line.endswith("...")):
            return "lines without an end"
        least = rules.min_words_per_line
        if least and len(line.split(None, least - 1)) < least:
            return "lines with few words"
        return ""

    def _phrase(self) -> str:
        if not (self._lorem or self._javascript or self._curly or self._phrases):
            return ""
        lowered = self.line.lower()
        if self._lorem and "lorem ipsum" in lowered:
            self.drop = Drop("lorem_ipsum", self.line)
        elif self._javascript and "javascript" in lowered:
            return "lines with javascript"
        elif self._curly and "{" in self.line:
            self.drop = Drop("curly_bracket", self.line)
        elif any(each in lowered for each in self._phrases):
            return "lines with a policy"
        return ""
