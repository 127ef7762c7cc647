"""Questions on long texts as rows of one length at most: the text in windows that overlap."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from roots.errors import DataError
from roots.records import Question, QuestionWindow
from roots.tokenizer.framed import Framed, Framing
from roots.tokenizer.tokenizer import Tokenizer

_AT_ONCE = 500
_MOST_SPECIAL = 4  # <s> question </s></s> context </s>


FRAMED_BY = ("seq_len", "stride", "max_question_tokens")
"""What a `QuestionFraming` is made with, beside the tokenizer."""


class QuestionFraming:
    """Frames a question with its context, in as many rows as the context needs.

    Args:
        tokenizer: It must have a `cls_token` and set it into every row: that place stands for
            "no answer".
        seq_len: Tokens of a row at most, special ones included.
        stride: Tokens of the context that neighbouring rows share.
        max_question_tokens: A longer question is cut.

    Raises:
        DataError: The rows have no room for a context, or there is no `cls_token`.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, seq_len: int, stride: int, max_question_tokens: int
    ) -> None:
        room = seq_len - max_question_tokens - _MOST_SPECIAL
        if room <= stride:
            raise DataError(
                f"Rows of seq_len={seq_len} tokens have room for {max(room, 0)} tokens of a context"
                f" behind a question of {max_question_tokens} and the special tokens, and"
                f" neighbours share stride={stride} of them. Set data.seq_len above"
                f" {max_question_tokens + _MOST_SPECIAL + stride}, or the other two lower."
            )
        self._framing = Framing(tokenizer, max_tokens=seq_len, cut="only_second", stride=stride)
        self._alone = Framing(tokenizer, max_tokens=max_question_tokens + _MOST_SPECIAL)
        self._most = max_question_tokens
        self._no_answer = _cls_id(tokenizer)

    def windows(self, questions: Sequence[Question]) -> Iterator[tuple[QuestionWindow, Framed]]:
        """Yields the rows of the first question, then those of the next."""
        for start in range(0, len(questions), _AT_ONCE):
            some = questions[start : start + _AT_ONCE]
            asked = [self.shortened(question.text) for question in some]
            pairs = [(text, q.context) for text, q in zip(asked, some, strict=True)]
            for number, rows in enumerate(self._framing.windows(pairs), start):
                yield from ((self._window(number, row), row) for row in rows)

    def shortened(self, question: str) -> str:
        """Gives a question with at most as many tokens as it may have."""
        row = self._alone.frame([question])[0]
        places = [place for place, of in enumerate(row.sequence_ids) if of == 0]
        if len(places) <= self._most and not row.was_cut:
            return question
        end = row.offsets[places[: self._most][-1]][1]
        return self.shortened(question[: min(end, len(question) - 1)])  # it may divide anew

    def _window(self, number: int, row: Framed) -> QuestionWindow:
        places = [place for place, of in enumerate(row.sequence_ids) if of == 1]
        if self._no_answer not in row.ids:
            raise DataError(
                "The tokenizer names a cls_token and does not set it into a row, and no other place"
                " can stand for no answer. Give tokenizer.json the post_processor of the network's"
                " own tokenizer ([CLS] question [SEP] context [SEP])."
            )
        return QuestionWindow(
            question=number,
            first=places[0] if places else len(row.ids),
            starts=array("i", [row.offsets[place][0] for place in places]),
            ends=array("i", [row.offsets[place][1] for place in places]),
            no_answer=row.ids.index(self._no_answer),
        )


def answer_places(window: QuestionWindow, span: tuple[int, int]) -> tuple[int, int] | None:
    """Finds the first and the last token of an answer in a row.

    Args:
        window: The row.
        span: The answer's characters in the context, from and to.

    Returns:
        The places of the tokens that hold its first and its last character; None where the answer
        is not wholly in the row.
    """
    start, end = span
    if not window.starts or window.starts[0] > start or window.ends[-1] < end:
        return None
    first = bisect_right(window.ends, start)
    last = bisect_left(window.starts, end) - 1
    return (window.first + first, window.first + last) if first <= last else None


def _cls_id(tokenizer: Tokenizer) -> int:
    token = tokenizer.settings.get("cls_token")
    found = None if token is None else tokenizer.token_id(token)
    if found is None:
        raise DataError(
            "The tokenizer has no cls_token, whose place in a row stands for no answer. Take an"
            " encoder such as bert, roberta or modernbert with its tokenizer, or name the token in"
            ' tokenizer_config.json: {"cls_token": "[CLS]"}.'
        )
    return found
