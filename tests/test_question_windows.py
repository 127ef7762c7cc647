"""Questions with long contexts as rows: what the rows hold, and where an answer is in them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from quizzes import quiz_tokenizer, squad

from roots.errors import DataError
from roots.records import Question, QuestionWindow
from roots.tokenizer import Framed, QuestionFraming, Tokenizer, answer_places


def framing(tokenizer: Tokenizer | None = None, **changes: int) -> QuestionFraming:
    sizes = {"seq_len": 26, "stride": 7, "max_question_tokens": 8, **changes}
    return QuestionFraming(tokenizer or quiz_tokenizer(), **sizes)


def questions(seed: int = 1) -> list[Question]:
    """The questions of four articles, with the first answer's characters."""
    made = []
    for article in squad(4, seed=seed)["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                first = next(iter(asked["answers"]), None)
                begin = first["answer_start"] if first else 0
                span = (begin, begin + len(first["text"])) if first else None
                made.append(Question(id=asked["id"], text=asked["question"],
                                     context=paragraph["context"], span=span))  # fmt: skip
    return made


def rows_of(made: list[Question], **changes: int) -> list[tuple[QuestionWindow, Framed]]:
    return list(framing(**changes).windows(made))


def test_windows_cover_the_context_and_neighbours_share_the_stride() -> None:
    made = questions()
    whole = {w.question: w for w, _ in rows_of(made, seq_len=300)}
    assert len(whole) == len(made)
    by_question: dict[int, list[QuestionWindow]] = {}
    for window, row in rows_of(made):
        assert len(row.ids) <= 26
        by_question.setdefault(window.question, []).append(window)
    assert max(len(windows) for windows in by_question.values()) > 3
    for number, windows in by_question.items():
        starts = list(windows[0].starts)
        for window in windows[1:]:
            assert list(window.starts[:7]) == starts[-7:]
            starts += window.starts[7:]
        assert starts == list(whole[number].starts)


def test_a_window_names_the_tokens_of_the_context_and_their_characters() -> None:
    made, tokenizer = questions(), quiz_tokenizer()
    for window, row in rows_of(made):
        context = made[window.question].context
        last = window.first + len(window.starts)
        assert row.sequence_ids[window.first : last] == [1] * len(window.starts)
        assert row.sequence_ids.count(1) == len(window.starts)
        assert row.ids[window.no_answer] == tokenizer.token_id("[CLS]")
        for place, start, end in zip(
            range(window.first, last), window.starts, window.ends, strict=True
        ):
            token = tokenizer.decode([row.ids[place]]).removeprefix("##")
            assert token in ("[UNK]", context[start:end].lower().replace("é", "e"))


def run_qa_places(row: Framed, span: tuple[int, int]) -> tuple[int, int] | None:
    """How transformers' run_qa.py walks over the offsets, kept inside the context.

    Of an answer that begins in the context's last token of a row it walks on into the special
    token behind, whose offsets are (0, 0).
    """
    first = row.sequence_ids.index(1)
    last = len(row.sequence_ids) - 1 - row.sequence_ids[::-1].index(1)
    if not (row.offsets[first][0] <= span[0] and row.offsets[last][1] >= span[1]):
        return None
    end = last + 1
    while first < end and row.offsets[first][0] <= span[0]:
        first += 1
    while row.offsets[last][1] >= span[1]:
        last -= 1
    return first - 1, last + 1


def test_answers_are_where_run_qa_finds_them_and_hold_their_characters() -> None:
    made, rng, found, lost = questions(), random.Random(2), 0, 0
    for window, row in rows_of(made):
        context = made[window.question].context
        solid = [n for n, sign in enumerate(context) if not sign.isspace()]
        for _ in range(20):
            begin = rng.randrange(len(solid))
            span = (solid[begin], solid[min(begin + rng.randrange(12), len(solid) - 1)] + 1)
            places = answer_places(window, span)
            assert places == run_qa_places(row, span)
            found, lost = found + bool(places), lost + (not places)
            if places:
                first, last = (place - window.first for place in places)
                assert window.starts[first] <= span[0] < window.ends[first]
                assert window.starts[last] < span[1] <= window.ends[last]
    assert found > 100
    assert lost > 100


def test_the_place_of_no_answer_is_looked_for_and_not_assumed() -> None:
    behind = quiz_tokenizer("$A [SEP] $B:1 [SEP]:1 [CLS]:1")  # as XLNet has it
    for window, row in framing(behind).windows(questions()[:3]):
        assert window.no_answer == len(row.ids) - 1
        assert window.first < window.no_answer


def test_a_long_question_is_cut_to_its_tokens_and_a_short_one_is_not() -> None:
    made = framing()
    assert made.shortened("it ran to the cat ?") == "it ran to the cat ?"
    long = " ".join(["the cat sat"] * 9)
    assert made.shortened(long) == "the cat sat the cat sat the cat"
    rows = list(made.windows([Question(id="1", text=long, context="the dog ran " * 9)]))
    assert all(row.sequence_ids.count(0) == 8 for _, row in rows)
    assert len(rows) > 1


def test_more_questions_than_are_framed_at_once_keep_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = questions()
    expected = rows_of(made)
    monkeypatch.setattr("roots.tokenizer.question_windows._AT_ONCE", 5)
    assert rows_of(made) == expected


@pytest.mark.parametrize("changes", [{"seq_len": 19}, {"stride": 14}, {"max_question_tokens": 15}])
def test_rows_without_room_are_refused_with_the_sizes_that_work(changes: dict[str, Any]) -> None:
    sizes = {"seq_len": 26, "stride": 7, "max_question_tokens": 8, **changes}
    with pytest.raises(DataError, match=r"Set data.seq_len above (\d+)") as told:
        framing(**changes)
    for value in (sizes["seq_len"], sizes["max_question_tokens"], sizes["stride"]):
        assert str(value) in str(told.value)
    above = int(str(told.value).split("above ")[1].split(",")[0])
    assert above == sizes["max_question_tokens"] + 4 + sizes["stride"]
    rows = list(framing(**{**changes, "seq_len": above + 1}).windows(questions()))
    assert all(window.starts for window, _ in rows)


def test_a_tokenizer_without_a_token_for_no_answer_is_refused() -> None:
    good = quiz_tokenizer()
    settings = {name: value for name, value in good.settings.items() if name != "cls_token"}
    with pytest.raises(DataError, match=r'no cls_token.*"cls_token": "\[CLS\]"'):
        framing(Tokenizer(definition=good.definition, settings=settings))
    without = quiz_tokenizer("$A [SEP] $B:1 [SEP]:1")
    with pytest.raises(DataError, match=r"does not set it into a row.*post_processor"):
        list(framing(without).windows(questions()))
    assert list(framing(good).windows(questions()))
