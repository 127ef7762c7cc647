"""The best spans of a row, and the best answer of a question whose context is in several rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Candidate(NamedTuple):
    """A part of the context that may be the answer.

    Args:
        text: Its characters, as they stand in the context.
        score: The logit of its begin plus that of its end.
        start: Its first character in the context.
    """

    text: str
    score: float
    start: int


class Reading(NamedTuple):
    """What a network makes of one question.

    Args:
        candidates: The best answers, the best first; none where the context has no token.
        null: The score of no answer; inf where no row of the question was read.
    """

    candidates: list[Candidate]
    null: float

    @property
    def text(self) -> str:
        """The best answer, whatever speaks for none."""
        return self.candidates[0].text if self.candidates else ""

    @property
    def no_answer(self) -> float:
        """How much more speaks for no answer than for the best one."""
        return self.null - self.candidates[0].score if self.candidates else math.inf

    def answer(self, threshold: float) -> str:
        """The best answer, or nothing where more than `threshold` speaks for none."""
        return "" if self.no_answer > threshold else self.text

    def probabilities(self) -> list[float]:
        """Those of the candidates, and last that of no answer, among just these; 0 if not read."""
        scores = [*(candidate.score for candidate in self.candidates), self.null]
        if self.null == math.inf:
            return [0.0] * len(scores)
        weights = [math.exp(score - max(scores)) for score in scores]
        return [weight / sum(weights) for weight in weights]


def best_spans(
    logits: Float[Tensor, "B 2 T"], inside: Bool[Tensor, "B T"], *, n_best: int, max_tokens: int
) -> tuple[Float[Tensor, "B N"], Int[Tensor, "B N 2"]]:
    """Finds the spans with the largest sum of begin and end among all that are allowed.

    Args:
        logits: Of each token as the begin and as the end of the answer.
        inside: Which tokens an answer may have.
        n_best: N.
        max_tokens: Tokens of an answer at most.

    Returns:
        The sums, the largest first, -inf where there are fewer spans; and the first and last
        tokens. Looking at all pairs finds what the usual choice among the N best begins and the N
        best ends finds, and better spans where those two do not fit together.
    """
    start, end = logits.masked_fill(~inside[:, None], -math.inf).unbind(1)  # B T, twice
    width = min(max_tokens, start.shape[1])
    after = F.pad(end, (0, width - 1), value=-math.inf).unfold(1, width, 1)  # B T W
    sums = F.pad((start[:, :, None] + after).flatten(1), (0, n_best), value=-math.inf)
    scores, places = sums.topk(n_best)  # B N
    first = places.div(width, rounding_mode="floor").clamp(max=start.shape[1] - 1)
    return scores, torch.stack((first, first + places % width), -1)


def reading_of(
    context: str, spans: Iterable[tuple[float, int, int]], *, null: float, n_best: int
) -> Reading:
    """Joins what was found in the rows of one question.

    Args:
        context: What the answer is a part of.
        spans: The score of each span, and its characters in the context, from and to; what lies in
            the overlap of two rows is in it twice, and the better score counts. White space around
            an answer, which the tokens of many tokenizers begin with, is no part of it, and no
            answer by itself.
        null: The lowest score of no answer of all rows: one that holds an answer is enough.
        n_best: Candidates to keep.
    """
    best: dict[tuple[int, int], float] = {}
    for score, first, stop in spans:
        start, end = _without_space(context, first, stop)
        if start == end:
            continue
        best[start, end] = max(score, best.get((start, end), -math.inf))
    ranked = _ranked(best)[:n_best]
    found = [Candidate(context[start:end], score, start) for (start, end), score in ranked]
    return Reading(found, null)


def _without_space(context: str, start: int, end: int) -> tuple[int, int]:
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def _ranked(best: Mapping[tuple[int, int], float]) -> list[tuple[tuple[int, int], float]]:
    """Sorts by score; of equal ones the first in the text comes first, and the shorter."""
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))
