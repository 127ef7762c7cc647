"""Labelled rows on their way into a fine-tuning set, and questions with their windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled row on its way into a fine-tuning set.

    Args:
        fields: The values by the names of their columns.
        where: Names the row for messages: `path:line`.
    """

    fields: Mapping[str, object]
    where: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, in its place among the good ones.

    Args:
        where: Names the row for messages: `path:line`.
        reason: Why in a few words, the same for all rows of this kind: they are counted by it.
        message: What is wrong, with the values, and the cure.
        content: What could be read of it: its fields, or the text of its line.
    """

    where: str
    reason: str
    message: str
    content: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question on a text.

    Args:
        id: Names the question, in predictions.
        text: The question itself.
        context: The text that its answer is a part of.
        answers: What counts as right; none for a question without an answer, or an open one.
        span: The first answer's characters in the context, from and to; None where there is none.
    """

    id: str
    text: str
    context: str
    answers: tuple[str, ...] = ()
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionWindow:
    """The part of a question's context that is read in one row, behind the question.

    Args:
        question: The number of the question among those that were read together.
        first: The row's token with which the context begins.
        starts: Where in the context the characters of each of its tokens begin, in a row.
        ends: Where they end.
        no_answer: The row's token that stands for no answer.
    """

    question: int
    first: int
    starts: Sequence[int]
    ends: Sequence[int]
    no_answer: int
