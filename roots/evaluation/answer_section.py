"""The part of a run's page that is about answers: which questions it answers, and how it errs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from roots.evaluation.canvas import BLUE, COLOURS, HATCHES, ORANGE, new_figure, plain
from roots.evaluation.details_section import add_details, figure_name
from roots.evaluation.page import Page
from roots.evaluation.run_record import RunRecord

_SCORES = ("exact_match", "f1")


def add(page: Page, record: RunRecord) -> None:
    """Adds what is known of each stage's answers; nothing where there are none."""
    add_details(page, record, "answers", "Answers", _add_stage)


def _add_stage(page: Page, record: RunRecord, stage: str, answers: Mapping[str, Any]) -> None:
    folder = record.page_folder
    page.kept_figure(
        answers_figure(answers),
        folder / f"{figure_name('answers', stage)}.png",
        "Exact match and F1 of the questions with an answer and of those without, and F1 by the"
        " length of the shortest right answer and of the context; the number of questions is"
        " written on each bar",
    )
    threshold = answers.get("threshold")
    if threshold and threshold["curve"]:
        page.kept_figure(
            threshold_figure(threshold),
            folder / f"{figure_name('threshold', stage)}.png",
            "What exact match and F1 would be with each no-answer threshold: above it a question"
            " counts as unanswerable. The threshold that is used was chosen on training articles,"
            " so that it need not be the best here",
        )
    rows = [
        [
            float(each["probability"]),
            str(each["question"]),
            str(each["given"]) or "(no answer)",
            " / ".join(each["answers"]) or "(no answer)",
            str(each["context"]),
            str(each["id"]),
        ]
        for each in answers["mistakes"]
    ]
    if rows:
        head = ["probability", "question", "given", "right", "context", "id"]
        caption = "Answers without a right word, the surest first: a wrong label, or a hard text?"
        page.table(head, rows, caption)


def answers_figure(answers: Mapping[str, Any]) -> Any:
    """Draws the scores by kind of question and by length.

    Args:
        answers: As `roots.metrics.SpanAnswers` tells them.
    """
    lengths = [
        (answers[key], words)
        for key, words in (
            ("answer_words", "words of the answer"),
            ("context_words", "words of the context"),
        )
        if answers[key]
    ]
    figure = new_figure(8.0, 3.8)
    first, *others = figure.subplots(1, 1 + len(lengths), sharey=True, squeeze=False)[0]
    _draw_parts(first, answers["parts"])
    for axes, (bins, words) in zip(others, lengths, strict=True):
        _bars(axes, range(len(bins)), bins, "f1", width=0.75)
        axes.set_xticks(range(len(bins)), [_range(each) for each in bins])
        plain(axes, words, "")
        axes.set_title("F1 of the answerable", loc="left", fontsize=10)
    first.set_ylim(0, 1.08)
    figure.legend(frameon=False, fontsize=9, loc="outside lower left", ncols=2)
    return figure


def _draw_parts(axes: Any, parts: Sequence[Mapping[str, Any]]) -> None:
    for number, (key, name) in enumerate((("exact_match", "exact match"), ("f1", "F1"))):
        places = [place + 0.4 * (number - 0.5) for place in range(len(parts))]
        _bars(axes, places, parts, key, width=0.38, name=name)
    axes.set_xticks(range(len(parts)), [part["part"] for part in parts])
    plain(axes, "", "score (0 to 1)")


def _bars(
    axes: Any,
    places: Sequence[float],
    parts: Sequence[Mapping[str, Any]],
    key: str,
    *,
    width: float,
    name: str | None = None,
) -> None:
    """Draws bars with the number of questions on each."""
    is_f1 = key == "f1"
    axes.bar(
        places,
        [part[key] for part in parts],
        width=width,
        label=name,
        color=BLUE if is_f1 else "#d9d9d9",
        hatch="" if is_f1 else HATCHES[1],
        edgecolor="#333333",
        linewidth=0.5,
    )
    for place, part in zip(places, parts, strict=True):
        axes.text(place, part[key] + 0.01, f"{part['questions']:,}", ha="center", fontsize=7)


def threshold_figure(threshold: Mapping[str, Any]) -> Any:
    """Draws what the scores would be with each threshold, and the one that is used."""
    figure = new_figure(8.0, 3.6)
    axes = figure.subplots()
    at = [point["threshold"] for point in threshold["curve"]]
    marker = "o" if len(at) == 1 else ""
    for key, name, style, colour in (
        ("exact_match", "exact match", "--", COLOURS[4]),
        ("f1", "F1", "-", BLUE),
    ):
        scores = [point[key] for point in threshold["curve"]]
        axes.plot(
            at, scores, style, drawstyle="steps-post", color=colour, label=name, marker=marker
        )
    value = threshold["value"]
    if value is None or value == -math.inf:
        axes.plot([], [], " ", label="used: -inf, nothing is answered")
    else:
        axes.axvline(value, color=ORANGE, linewidth=2.0, label=f"used, {value:.3g}")
    plain(
        axes, "no-answer threshold: score of none minus that of the best answer", "score (0 to 1)"
    )
    axes.set_ylim(0, 1.12 * max(*(p[key] for p in threshold["curve"] for key in _SCORES), 0.1))
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def _range(each: Mapping[str, Any]) -> str:
    low, high = each["from"], each["to"]
    if high is None:
        return f"{low}+"
    return str(low) if low == high else f"{low}–{high}"
