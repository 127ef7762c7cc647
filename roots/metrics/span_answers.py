"""Answers to questions whose contexts lie in several rows, batches and ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from roots.metrics.answer_details import answer_details
from roots.metrics.best_spans import Reading, best_spans, reading_of
from roots.metrics.squad import SquadScore
from roots.metrics.squad_answers import Threshold, best_threshold, squad_f1
from roots.metrics.summed import SummedMetric
from roots.records import Question, QuestionWindow


class SpanAnswers(SummedMetric):
    """Finds the answer to each question in all its rows, and measures them as `SquadScore` does.

    The best spans of each row are kept, (W, 2 + 3N) for W rows, and joined by question once all
    rows of all ranks are there; so it does not matter which batch or rank had which row.

    Args:
        questions: The questions, the same on every rank.
        windows: Their rows, in the order of their numbers.
        n_measured: How many of the questions are measured; those behind them are there to choose
            the threshold on. -1 measures all.
        threshold: A question has no answer where this much more speaks for none than for the best
            one; `inf` always answers.
        n_best: N, the candidates to keep.
        max_answer_tokens: Tokens of an answer at most.
    """

    found: list[Tensor] | Tensor

    def __init__(
        self,
        *,
        questions: Sequence[Question],
        windows: Sequence[QuestionWindow],
        n_measured: int = -1,
        threshold: float = math.inf,
        n_best: int = 20,
        max_answer_tokens: int = 30,
    ) -> None:
        super().__init__()
        self.questions = questions
        self.windows = windows
        self.n_measured = len(questions) if n_measured < 0 else n_measured
        self.threshold = threshold
        self.n_best = n_best
        self.max_answer_tokens = max_answer_tokens
        self.add_state("found", [], dist_reduce_fx="cat")

    def update(self, logits: Float[Tensor, "B 2 T"], samples: Int[Tensor, " B"]) -> None:
        """Adds rows.

        Args:
            logits: Of each token as the begin and as the end of the answer.
            samples: The numbers of the rows; -1 is a filler, which counts for nothing.
        """
        there = [row for row, sample in enumerate(samples.tolist()) if sample >= 0]
        numbers = samples[there].to(self.device)
        windows = [self.windows[number] for number in samples[there].tolist()]
        logits = logits[torch.tensor(there, dtype=torch.long, device=logits.device)].float()

        def on_device(values: list[int]) -> Int[Tensor, "W 1"]:
            return torch.tensor(values, dtype=torch.long, device=logits.device)[:, None]

        first = on_device([window.first for window in windows])
        stop = on_device([window.first + len(window.starts) for window in windows])
        place = torch.arange(logits.shape[-1], device=logits.device)
        scores, spans = best_spans(
            logits,
            (place >= first) & (place < stop),
            n_best=self.n_best,
            max_tokens=self.max_answer_tokens,
        )
        nowhere = on_device([window.no_answer for window in windows])
        null = logits.sum(1).gather(1, nowhere)  # W 1
        parts = (numbers[:, None], null, scores, (spans - first[..., None]).flatten(1))
        assert isinstance(self.found, list)
        self.found.append(torch.cat([part.to(self.exact) for part in parts], dim=1))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gathers the rows of all ranks; one without rows gives none, in the others' type."""
        if not self.found:
            width = 2 + 3 * self.n_best
            self.found = [torch.zeros(0, width, dtype=self.exact, device=self.device)]
        super().sync(*args, **kwargs)

    def readings(self) -> list[Reading]:
        """Gives what was made of each question, in their order; every rank must ask."""
        with self._over_ranks():
            return self._readings()

    def best_threshold(self) -> Threshold | None:
        """Chooses the threshold with the best F1 on the questions that are not measured.

        Every rank must ask. None where there are no such questions.
        """
        chosen_on = self.questions[self.n_measured :]
        if not chosen_on:
            return None
        readings = self.readings()[self.n_measured :]
        return best_threshold(
            [squad_f1(r.text, q.answers) for r, q in zip(readings, chosen_on, strict=True)],
            [reading.no_answer for reading in readings],
            [bool(question.answers) for question in chosen_on],
        )

    def _values(self) -> dict[str, float]:
        measured = self.questions[: self.n_measured]
        readings = self._readings()[: self.n_measured]
        score = SquadScore(threshold=self.threshold)
        score.sync_on_compute = False  # every rank has all questions
        score.update(
            [reading.text for reading in readings],
            [question.answers for question in measured],
            [reading.no_answer for reading in readings],
        )
        chosen = {} if self.threshold == math.inf else {"no_answer_threshold": self.threshold}
        return {**score.values(), **chosen}

    def _details(self) -> dict[str, Any]:
        measured = self.questions[: self.n_measured]
        readings = self._readings()[: self.n_measured]
        return {"answers": answer_details(measured, readings, self.threshold)} if measured else {}

    def _readings(self) -> list[Reading]:
        """Joins the rows of each question, in the order of their numbers."""
        found = self.found if isinstance(self.found, Tensor) else _joined(self.found)
        spans: list[list[tuple[float, int, int]]] = [[] for _ in self.questions]
        null = [math.inf] * len(self.questions)
        for number, of_no_answer, *rest in sorted(found.tolist()):
            window = self.windows[int(number)]
            spans[window.question] += _characters(window, rest, self.n_best)
            null[window.question] = min(null[window.question], of_no_answer)
        return [
            reading_of(question.context, some, null=none, n_best=self.n_best)
            for question, some, none in zip(self.questions, spans, null, strict=True)
        ]


def _joined(found: list[Tensor]) -> Tensor:
    return torch.cat(found) if found else torch.zeros(0, 2)


def _characters(
    window: QuestionWindow, row: Sequence[float], n_best: int
) -> Iterator[tuple[float, int, int]]:
    """Yields the score of each span, and where in the context its characters are."""
    places = [int(place) for place in row[n_best:]]
    for score, first, last in zip(row[:n_best], places[::2], places[1::2], strict=True):
        if score > -math.inf:
            yield score, window.starts[first], window.ends[last]
