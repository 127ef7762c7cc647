"""Conversations to learn answers from: only what the assistant says is a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int64

from roots.batch import IGNORE, RaggedTokenBatch
from roots.data.chat_data import ChatData
from roots.data.ragged import Ragged
from roots.data.splits import Split
from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.rows import Check, Messages, RowSource
from roots.tokenizer import Rendered, Turns


@dataclass(frozen=True, kw_only=True)
class AnswerSplit(Split):
    """Conversations with a label wherever the next token is the assistant's.

    Args:
        token_bytes: UTF-8 bytes of text that each token stands for, (V,).
    """

    token_bytes: Int64[np.ndarray, " V"]

    def batch(self, rows: Int64[np.ndarray, " B"], step: int) -> RaggedTokenBatch:
        """Lays rows under each other; a row of -1 is filler, one token long and unlabelled."""
        assert isinstance(self.labels, Ragged)
        ids = self.input_ids.padded(rows, self.pad_id)  # B T
        labels = self.labels.padded(rows, IGNORE)  # B T
        known = labels != IGNORE
        n_bytes = np.where(known, self.token_bytes[np.where(known, labels, 0)], 0).sum(1)
        return RaggedTokenBatch(
            input_ids=torch.from_numpy(ids),
            labels=torch.from_numpy(labels),
            lengths=torch.from_numpy(np.where(rows >= 0, self.lengths[rows], 1)),
            n_bytes=torch.from_numpy(n_bytes),
            samples=torch.from_numpy(rows),
            step=step,
        )


class Conversations(ChatData):
    """Reads conversations: `messages`, a list of `{role, content}`, or `prompt` and `response`.

    A chat template makes text of them. Labels are the tokens of the answers, with what ends them;
    what people write stays text, also where it looks like a special token. A conversation of more
    than `seq_len` tokens is cut behind its last answer that fits; one whose first answer does not
    fit is left out. How many are, is said.

    Args:
        train: A file (jsonl, parquet, csv, …) of training rows, or a reader of rows.
        val: Validation rows; empty holds out a part of the training rows.
        test: Test rows; may be empty.
        template: `plain` (`User: …`, `Assistant: …`), a .jinja file, or empty for the tokenizer's
            own. It is saved with the tokenizer of the run.
        tokenizer: A folder or hub name with the tokenizer; empty takes that of the network.
        seq_len: Tokens of a row at most.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training rows that is held out where `val` is empty: copies of a
            conversation stay together, and each run has the same.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training rows into so many parts for a cross-validation, as `val_fraction`
            divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of rows of like length, so that little is filled up.
        columns: The file's name for each field, where they differ: `{prompt: question}`. Fields are
            `messages`, or `prompt` and `response`, with `system` where there is one.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work.
    """

    asks: ClassVar[str] = "next tokens"
    OPTIONAL: ClassVar = ("messages", "system", "prompt", "response")

    def __init__(
        self,
        *,
        train: str | list[str] | RowSource,
        val: str | list[str] | RowSource = "",
        test: str | list[str] | RowSource = "",
        template: str = "",
        tokenizer: str = "",
        seq_len: int = 1024,
        sequences_per_step: int = 32,
        val_fraction: float = 0.05,
        fold: int = 0,
        folds: int = 0,
        like_lengths: bool = True,
        columns: Mapping[str, str] | None = None,
        on_bad_row: Literal["error", "skip"] = "error",
        max_bad_fraction: float = 0.01,
        rejected_file: str = "",
    ) -> None:
        super().__init__(
            train=train,
            val=val,
            test=test,
            tokenizer=tokenizer,
            seq_len=seq_len,
            sequences_per_step=sequences_per_step,
            val_fraction=val_fraction,
            fold=fold,
            folds=folds,
            like_lengths=like_lengths,
            columns=columns,
            on_bad_row=on_bad_row,
            max_bad_fraction=max_bad_fraction,
            rejected_file=rejected_file,
        )
        self.template = template

    # -- rows --------------------------------------------------------------------------------

    def checks(self) -> Sequence[Check]:
        """Turns in order, each with a text, that the template takes."""
        return [self._rendered]

    def texts_of(self, row: Row) -> str:
        """The whole conversation."""
        return "".join(_text(row).pieces)

    def make_split(self, rows: Sequence[Row]) -> Split:
        """Tokenizes the conversations, and cuts or leaves out those that are too long."""
        found = self.chat.encode([_text(row) for row in rows])
        fitting = [
            (row, turns, end)
            for row, turns in zip(rows, found, strict=True)
            if (end := self._end(turns))
        ]
        if rows and not fitting:
            shortest = min(turns.ends[0] for turns in found) - 1
            raise DataError(
                f"No first answer ends within seq_len={self.seq_len:,} tokens; the shortest needs"
                f" {shortest:,}. Set data.seq_len to at least that."
            )
        if lost := len(rows) - len(fitting):
            self.remarks.append(
                f"{lost:,} of {len(rows):,} conversations were left out, because their first answer"
                f" does not end within seq_len={self.seq_len:,} tokens"
            )
        return AnswerSplit(
            input_ids=Ragged.of([turns.ids[: end - 1] for _, turns, end in fitting]),
            labels=Ragged.of([_labels(turns, end) for _, turns, end in fitting]),
            where=[row.where for row, _, _ in fitting],
            pad_id=self.tokenizer.pad_id,
            n_cut=sum(end < turns.ends[-1] for _, turns, end in fitting),
            token_bytes=self.tokenizer.byte_lengths(),
        )

    def _end(self, turns: Turns) -> int:
        """Gives behind how many tokens a row ends: one more than it has inputs; 0 for none."""
        return max((end for end in turns.ends if end - 1 <= self.seq_len), default=0)

    def _rendered(self, row: Row) -> Row | BadRow:
        checked = Messages()(row)
        if isinstance(checked, BadRow):
            return checked
        text = self.rendered(row, checked.fields["messages"])
        return text if isinstance(text, BadRow) else Row({"text": text}, row.where)


def _text(row: Row) -> Rendered:
    text = row.fields["text"]
    assert isinstance(text, Rendered)
    return text


def _labels(turns: Turns, end: int) -> list[int]:
    """Gives the next token of each but the last, where the assistant writes it."""
    after = zip(turns.ids[1:end], turns.is_answer[1:end], strict=True)
    return [id_ if answers else IGNORE for id_, answers in after]
