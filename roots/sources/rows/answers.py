"""What must hold of a question and its answers, in SQuAD's form or in that of flat rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roots.records import BadRow, Row
from roots.sources.jsonl import kind_of

NO_KEY = "missing value"
EMPTY = "empty text"
MISPLACED = "answer not where it says"
CONTRADICTION = "answers contradict is_impossible"


def check_answers(row: Row) -> Row | BadRow:
    """Checks `id`, `question`, `context`, and that each answer is where `answer_start` says.

    Args:
        row: Its `answers` are a list of `{text, answer_start}`, or two lists in one object as the
            `datasets` library has them; without `is_impossible` an empty list says it.

    Returns:
        The row with `answers` as a list of `{text, answer_start}` and `is_impossible` as a bool.
    """
    for key in ("id", "question", "context"):
        value = row.fields.get(key)
        if not isinstance(value, str):
            return missing_key(row.where, key, "a string", row.fields)
        if not value.strip():
            message = f"{row.where}: '{key}' is empty. Fill it in or delete the question."
            return BadRow(row.where, EMPTY, message, row.fields)
    answers = _listed(row.fields.get("answers"))
    if answers is None:
        return missing_key(row.where, "answers", "a list of {text, answer_start}", row.fields)
    impossible = row.fields.get("is_impossible")
    impossible = not answers if impossible is None else bool(impossible)
    if problem := _contradiction(answers, impossible) or _misplaced(answers, row.fields["context"]):
        reason, text = problem
        return BadRow(row.where, reason, f"{row.where}: {text}", row.fields)
    return Row({**row.fields, "answers": answers, "is_impossible": impossible}, row.where)


def missing_key(where: str, key: str, wanted: str, parent: object) -> BadRow:
    """Words the refusal of an object that lacks a value, or has one of another kind."""
    if isinstance(parent, Mapping) and key not in parent:
        what = f"has no '{key}'; its keys are: {', '.join(map(str, parent)) or 'none'}"
    elif isinstance(parent, Mapping):
        what = f"'{key}' is {kind_of(parent[key])}, not {wanted}"
    else:
        what = f"is {kind_of(parent)}, not {wanted if not key else 'an object'}"
    return BadRow(where, NO_KEY, f"{where} {what}. Mend it or delete the question.", parent)


def _listed(answers: Any) -> list[dict[str, Any]] | None:
    if isinstance(answers, Mapping):
        texts, starts = answers.get("text"), answers.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return None
        answers = [{"text": t, "answer_start": s} for t, s in zip(texts, starts, strict=True)]
    if not isinstance(answers, list) or not all(isinstance(a, Mapping) for a in answers):
        return None
    whole = all(
        isinstance(a.get("text"), str) and type(a.get("answer_start")) is int for a in answers
    )
    return (
        [{"text": a["text"], "answer_start": a["answer_start"]} for a in answers] if whole else None
    )


def _contradiction(answers: list[dict[str, Any]], impossible: bool) -> tuple[str, str] | None:
    if impossible and answers:
        text = (
            f"is_impossible is true, and there is an answer, {answers[0]['text']!r}."
            " Delete one of the two; what only seems an answer belongs in plausible_answers."
        )
        return CONTRADICTION, text
    if not impossible and not answers:
        return CONTRADICTION, (
            "answers is empty. Give an answer, or set is_impossible to true (SQuAD 2.0)."
        )
    return None


def _misplaced(answers: list[dict[str, Any]], context: Any) -> tuple[str, str] | None:
    for answer in answers:
        text, start = answer["text"], answer["answer_start"]
        if not text.strip():
            return EMPTY, "the text of an answer is empty. Fill it in or delete the answer."
        if start < 0 or context[start : start + len(text)] != text:
            return MISPLACED, _where_it_is(text, start, context)
    return None


def _where_it_is(text: str, start: int, context: str) -> str:
    found = context[max(start, 0) : max(start, 0) + len(text)]
    places = [at for at in range(len(context)) if context.startswith(text, at)]
    nearest = min(places, key=lambda at: abs(at - start), default=None)
    cure = (
        "It is nowhere in the context: correct the text."
        if nearest is None
        else f"It is at {nearest}: correct answer_start (characters from 0, not bytes)."
    )
    return f"the context has {found!r} at {start}, not the answer {text!r}. {cure}"
