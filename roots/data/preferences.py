"""Pairs of answers to a prompt, of which one is preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from roots.batch import IGNORE
from roots.data.chat_data import ChatData
from roots.data.preference_split import PreferenceSplit
from roots.data.ragged import Ragged
from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.rows import Check, PreferredAnswers, RowSource
from roots.sources.rows.checks import bad
from roots.tokenizer import Rendered, Turns


class Preferences(ChatData):
    """Reads pairs of answers: `prompt`, `chosen` and `rejected`, texts or lists of turns.

    Without a prompt, `chosen` and `rejected` are whole conversations, and the turns that they begin
    with alike are the prompt. A chat template makes text of them, as of `Conversations`; what
    counts are the tokens of the answers behind the prompt, with what ends them. A pair of which a
    side has more than `seq_len` tokens is left out, because an answer that is cut cannot be
    compared with one that is whole. How many are, is said.

    Args:
        train: A file (jsonl, parquet, csv, …) of training pairs, or a reader of rows.
        val: Validation pairs; empty holds out a part of the training pairs.
        test: Test pairs; may be empty.
        template: `plain` (`User: …`, `Assistant: …`), a .jinja file, or empty for the tokenizer's
            own. It is saved with the tokenizer of the run.
        tokenizer: A folder or hub name with the tokenizer; empty takes that of the network.
        seq_len: Tokens of a prompt and an answer to it at most.
        sequences_per_step: Pairs of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training pairs that is held out where `val` is empty: those of a
            prompt stay together, and each run has the same.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training pairs into so many parts for a cross-validation, as
            `val_fraction` divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of pairs of like length, so that little is filled up.
        columns: The file's name for each field, where they differ: `{chosen: better}`. Fields are
            `chosen` and `rejected`, with `prompt` and `system` where there are such.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work.
    """

    asks: ClassVar[str] = "which answer is preferred"
    rows_are: ClassVar[str] = "pairs"
    FIELDS: ClassVar = ("chosen", "rejected")
    OPTIONAL: ClassVar = ("prompt", "system")

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

    def describe(self) -> str:
        """Says in one line what is read, and how much of it."""
        train, val = self.split("train"), len(self.split("val"))
        chosen, rejected = train.sides[0].mean(0)
        return (
            f"{self.path}: {len(train):,} pairs, prompt and answer of {chosen:.0f} tokens in the"
            f" mean where it is chosen and {rejected:.0f} where not, to train on, {val:,} to"
            f" validate on{self._held_in_words}"
        )

    # -- rows --------------------------------------------------------------------------------

    def checks(self) -> Sequence[Check]:
        """A prompt and two unlike answers to it, that the template takes."""
        return [PreferredAnswers(), self._rendered]

    def texts_of(self, row: Row) -> str:
        """The prompt: pairs that have it in common stay together."""
        return str(row.fields["prompt"])

    def make_split(self, rows: Sequence[Row]) -> PreferenceSplit:
        """Tokenizes both sides of the pairs, and leaves out those of which one is too long."""
        texts = [row.fields[name] for row in rows for name in ("chosen", "rejected")]
        found = self.chat.encode(texts)  # type: ignore[arg-type]
        longest = [max(len(turns.ids) - 1 for turns in found[n : n + 2]) for n in _evens(found)]
        fitting = [n for n, length in enumerate(longest) if length <= self.seq_len]
        if rows and not fitting:
            raise DataError(
                f"No pair fits into seq_len={self.seq_len:,} tokens; the shortest needs"
                f" {min(longest):,}. Set data.seq_len to at least that."
            )
        if lost := len(rows) - len(fitting):
            self.remarks.append(
                f"{lost:,} of {len(rows):,} pairs were left out, because a prompt with an answer"
                f" has more than seq_len={self.seq_len:,} tokens (the longest {max(longest):,})"
            )
        kept = [(rows[n], turns) for n in fitting for turns in found[2 * n : 2 * n + 2]]
        return PreferenceSplit(
            input_ids=Ragged.of([turns.ids[:-1] for _, turns in kept]),
            labels=Ragged.of([_labels(turns, _answered(row)) for row, turns in kept]),
            where=[rows[n].where for n in fitting],
            pad_id=self.tokenizer.pad_id,
        )

    def _rendered(self, row: Row) -> Row | BadRow:
        prompt: Any = row.fields["prompt"]
        sides: dict[str, Rendered] = {}
        for name in ("chosen", "rejected"):
            turns: Any = [*prompt, *row.fields[name]]  # type: ignore[misc]
            text = self.rendered(row, turns)
            if isinstance(text, BadRow):
                return text
            self._check_told_apart(row, text, turns)
            sides[name] = text
        if sides["chosen"] == sides["rejected"]:
            what = "'chosen' and 'rejected' are the same text"
            return bad(row, "equal answers", what, "Let one of them be better")
        answered = sum(turn["role"] == "assistant" for turn in prompt)
        words = "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
        return Row({"prompt": words, "answered": answered, **sides}, row.where)

    def _check_told_apart(self, row: Row, text: Rendered, turns: Any) -> None:
        """Raises DataError where a template writes an answer in several parts, or none."""
        n_answers = sum(turn["role"] == "assistant" for turn in turns)
        if len(text.pieces) != 2 * n_answers:
            raise DataError(
                f"{row.where}: the chat template marks {len(text.pieces) // 2} answers of"
                f" {n_answers} turns of the assistant, so where the prompt ends cannot be told. Put"
                " one pair of {% generation %} and {% endgeneration %} around each answer in a copy"
                " of the template and set data.template to that .jinja file, or to plain."
            )


def _evens(found: Sequence[Turns]) -> range:
    return range(0, len(found), 2)


def _answered(row: Row) -> int:
    """Counts the answers that belong to the prompt."""
    n_answers = row.fields["answered"]
    assert isinstance(n_answers, int)
    return n_answers


def _labels(turns: Turns, answered: int) -> list[int]:
    """Gives the next token of each but the last, where it is of an answer behind the prompt."""
    begin = turns.ends[answered - 1] if answered else 0
    after = enumerate(zip(turns.ids[1:], turns.is_answer[1:], strict=True), 1)
    return [id_ if answers and n >= begin else IGNORE for n, (id_, answers) in after]
