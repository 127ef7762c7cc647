"""What a masked language model hides: the settings, and which words of a row they choose.

Shape letters: W words of a row, m spans.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int64

from roots.errors import ConfigError, nearest

UNITS = ("token", "word", "span")
_SPAN_P, _MAX_SPAN_WORDS = 0.2, 10


class Masking:
    """Hides part of a row, for a network to find from the rest.

    Args:
        rate: Share of the tokens that are hidden, above 0 and at most 1: 0.15 in BERT, 0.3 in
            ModernBERT. Special tokens and padding do not count and are never hidden.
        mask_fraction: Of the hidden tokens, the share that is replaced by the mask token.
        random_fraction: The share that is replaced by an ordinary token, drawn evenly; what is
            left of 1 stays as it is, and is asked for all the same.
        unit: What is hidden or left as a whole: `token`; `word`, all tokens of a word; or `span`,
            several words in a row.
        words: What a word is, for `word` and `span`: `tokenizer`, what the tokenizer's marks
            (`##`, `Ġ`, `▁`) and punctuation say; or `jieba`, Chinese words as jieba finds them.
        span_p: A span goes on behind each of its words with probability 1 - `span_p`, up to
            `max_span_words`; above 0 and at most 1.
        max_span_words: Longest span, in words. With 0.2 and 10 the mean is 3.8.

    Raises:
        ConfigError: A share or a length that cannot be, a unit that there is not, or words that
            nothing asks for.

    Source:
        Devlin et al., arXiv:1810.04805, section 3.1 and appendix A.1 (80 / 10 / 10); whole words:
        the 2019 release of its code; spans: Joshi et al., arXiv:1907.10529, section 3.1.
    """

    def __init__(
        self,
        *,
        rate: float = 0.15,
        mask_fraction: float = 0.8,
        random_fraction: float = 0.1,
        unit: str = "token",
        words: str = "tokenizer",
        span_p: float = _SPAN_P,
        max_span_words: int = _MAX_SPAN_WORDS,
    ) -> None:
        _check_share("rate", rate)
        _check_share("span_p", span_p)
        _check_fractions(mask_fraction, random_fraction)
        _check_known("unit", unit, UNITS)
        _check_known("words", words, ("tokenizer", "jieba"))
        if words != "tokenizer" and unit == "token":
            raise ConfigError(
                f"words={words} does nothing where single tokens are hidden. Set masking.unit to"
                " word or span."
            )
        if max_span_words < 1:
            raise ConfigError(
                f"max_span_words={max_span_words} leaves no span. Set it to at least 1, such as 10."
            )
        if unit != "span" and (span_p, max_span_words) != (_SPAN_P, _MAX_SPAN_WORDS):
            raise ConfigError(
                f"span_p={span_p:g} and max_span_words={max_span_words} do nothing where no spans"
                f" are hidden (unit: {unit}). Set masking.unit to span, or leave them out."
            )
        self.rate = rate
        self.mask_fraction = mask_fraction
        self.random_fraction = random_fraction
        self.unit = unit
        self.words = words
        self.span_p = span_p
        self.max_span_words = max_span_words


def choose_words(
    masking: Masking, n_words: int, rng: np.random.Generator
) -> Int64[np.ndarray, " W"]:
    """Chooses the words that are hidden.

    Their number is rate · W, rounded down or up by chance so that its mean is exact, as in
    fairseq's RoBERTa: it hardly varies, which keeps shapes and gradients steady, and short rows get
    their share too (BERT's code rounds, and takes one at least: 1/6 of a row of six tokens instead
    of 0.15). Every word is as likely as any other, wherever it stands, whatever the unit.

    Args:
        masking: The settings; `token` means that each token is a word.
        n_words: Words in the row, W, at least 1.
        rng: Where chance comes from.

    Returns:
        The number of the span that a word belongs to, -1 where it is not hidden; where spans are
        not asked for, each hidden word is one.
    """
    count = min(n_words, int(masking.rate * n_words + rng.random()))
    blocks = np.full(n_words, -1, dtype=np.int64)
    if count == 0:
        return blocks
    if masking.unit == "span":
        lengths = draw_lengths(masking, count, rng)
        return _placed(lengths, n_words - count, rng)
    blocks[_subset(n_words, count, rng)] = np.arange(count)
    return blocks


def draw_lengths(
    masking: Masking, n_words: int, rng: np.random.Generator
) -> Int64[np.ndarray, " m"]:
    """Draws lengths of spans that add up to `n_words`: the last one is cut to fit.

    The distribution is the geometric one up to the longest, scaled to sum to 1. The paper says that
    longer ones are clipped, but its mean of 3.8 and its code are those of this one (clipped, the
    mean would be 4.5).
    """
    steps = _cumulated(masking.span_p, masking.max_span_words)
    lengths = 1 + np.searchsorted(steps, rng.random(n_words), side="right")
    ends = lengths.cumsum()
    n_spans = int(np.searchsorted(ends, n_words)) + 1
    lengths = lengths[:n_spans]
    lengths[-1] -= ends[n_spans - 1] - n_words
    return lengths.astype(np.int64)


def length_shares(masking: Masking) -> Float64[np.ndarray, " lengths"]:
    """Gives the probability of a span of 1, 2, … words, before the last span of a row is cut."""
    powers = (1 - masking.span_p) ** np.arange(masking.max_span_words, dtype=np.float64)
    shares: Float64[np.ndarray, " lengths"] = powers / powers.sum()
    return shares


@lru_cache(maxsize=8)
def _cumulated(span_p: float, longest: int) -> Float64[np.ndarray, " lengths"]:
    masking = Masking(span_p=span_p, max_span_words=longest)
    steps = length_shares(masking).cumsum()
    return steps[:-1]  # the last is 1 but for rounding, and no draw may come behind it


def _placed(
    lengths: Int64[np.ndarray, " m"], n_left: int, rng: np.random.Generator
) -> Int64[np.ndarray, " W"]:
    """Lays spans and the words between them on a ring, turned by chance.

    On a ring no word is less likely than another; on a line the first and the last would be (as
    in T5's spans without `random_roll`). A span that lies across the row's end is in two pieces.
    Two spans never touch, unless there are fewer words between them than spans.
    """
    n_spans = len(lengths)
    least = 1 if n_left >= n_spans else 0
    free = n_left - least * n_spans
    ends = np.empty(n_spans, dtype=np.int64)  # of the gaps, counted in words that are not hidden
    ends[:-1] = np.sort(_subset(free + n_spans - 1, n_spans - 1, rng)) - np.arange(n_spans - 1)
    ends[-1] = free
    blocks = np.full(2 * n_spans, -1, dtype=np.int64)
    blocks[::2] = np.arange(n_spans)
    repeats = np.empty(2 * n_spans, dtype=np.int64)
    repeats[::2] = lengths
    repeats[1::2] = ends + least
    repeats[3::2] -= ends[:-1]
    ring = blocks.repeat(repeats)  # W
    turn = int(rng.integers(len(ring)))
    return np.concatenate((ring[turn:], ring[:turn]))


def _subset(n: int, count: int, rng: np.random.Generator) -> Int64[np.ndarray, " count"]:
    """Draws `count` of the numbers below `n`, each set of them as likely as any other."""
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    drawn: Int64[np.ndarray, " count"] = rng.random(n).argpartition(count - 1)[:count]
    return drawn


def number_words(starts: Bool[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Numbers the words of some tokens from 0 on, given which of them start one."""
    numbers: Int64[np.ndarray, " n"] = starts.cumsum() - int(starts[0])
    return numbers


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigError(
            f"{name}={value:g} is no share. Set it above 0 and to at most 1;"
            f" {'0.15 is usual' if name == 'rate' else '0.2 is usual'}."
        )


def _check_fractions(mask_fraction: float, random_fraction: float) -> None:
    kept = 1 - mask_fraction - random_fraction
    if not (mask_fraction >= 0 and random_fraction >= 0 and kept >= -1e-9):  # nan is none of it
        raise ConfigError(
            f"mask_fraction={mask_fraction:g} and random_fraction={random_fraction:g} leave"
            f" {kept:g} of the hidden tokens as they are. Set both to at least 0, with a sum of at"
            " most 1; BERT has 0.8 and 0.1."
        )


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(
            f"There is no {name} {value!r}{nearest(value, known)}."
            f" Set {name} to one of {', '.join(known)}."
        )
