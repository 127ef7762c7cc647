"""Texts in which two things are marked, with the relation between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from roots.data.labelled_texts import LabelledTexts
from roots.data.splits import Split, framed_split
from roots.errors import ConfigError
from roots.records import BadRow, Row
from roots.sources.rows import Check, HasText, OneLabel, RowSource
from roots.sources.rows.checks import bad
from roots.tokenizer import Framed, Framing

MARKERS = ("@", "@", "#", "#")


class RelationTexts(LabelledTexts):
    """Reads texts with a head and a tail, and which relation the first has to the second.

    Fields: `text`; `head` and `tail`, each `[from, to]` in characters of the text, `to` behind the
    last; `label`. The two are enclosed in markers, `@ Marie Curie @ was born in # Warsaw #`, and
    the text is classified as a whole, by `SequenceClassifier`. The markers are written text, so
    that no embedding is new: every tokenizer knows them, their vectors are trained already, and
    the folder of the run works wherever the same text is given.

    Args:
        train: A file (jsonl, json, parquet, …) of training rows, or a reader of rows.
        val: Validation rows; empty holds out a part of the training rows.
        test: Test rows; may be empty.
        markers: What is written before and behind the head, before and behind the tail.
        labels: The relations in the order of their numbers, or a file that names one a line; empty
            takes those that occur in the training rows, sorted.
        tokenizer: A folder or hub name with the tokenizer; empty takes that of the network.
        seq_len: Tokens of a row at most; longer ones are cut, and how many is said.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training rows that is held out where `val` is empty: rows of one
            text stay together, and each run has the same.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training rows into so many parts for a cross-validation, as `val_fraction`
            divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of rows of like length, so that little is filled up.
        columns: The file's name for each field, where they differ: `{label: relation}`.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work, or markers that cannot be told apart.

    Source:
        Baldini Soares et al., arXiv:1906.03158, section 3.2 (entity markers, classified by the
        first token), with the written markers of Zhou & Chen, arXiv:2102.01373, section 3.2, which
        they found no worse than new tokens.
    """

    ARGUMENTS: ClassVar[Sequence[str]] = ("markers", "labels")
    FIELDS: ClassVar[Sequence[str]] = ("text", "head", "tail", "label")
    OPTIONAL: ClassVar[Sequence[str]] = ()
    LINE: ClassVar[str] = ""

    def __init__(
        self,
        *,
        train: str | list[str] | RowSource,
        val: str | list[str] | RowSource = "",
        test: str | list[str] | RowSource = "",
        markers: Sequence[str] = MARKERS,
        labels: str | list[str] = "",
        tokenizer: str = "",
        seq_len: int = 128,
        sequences_per_step: int = 32,
        val_fraction: float = 0.1,
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
            labels=labels,
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
        self.markers = tuple(markers)
        check_markers(self.markers)

    def checks(self) -> Sequence[Check]:
        """A text, a head and a tail in it, and a relation."""
        return [HasText("text"), _has_spans, OneLabel("label", self._labels)]

    def texts_of(self, row: Row) -> str:
        """The text: rows of the same text with other heads and tails stay together."""
        return str(row.fields["text"])

    def make_split(self, rows: Sequence[Row]) -> Split:
        """Marks head and tail, and tokenizes the texts."""
        self._check_known()
        texts = [_marked(row, self.markers) for row in rows]
        framed = Framing(self.tokenizer, max_tokens=self.seq_len).frame(texts)
        self.remarks += self._doubtful(rows, texts, framed)
        return framed_split(
            framed,
            labels=self._numbers(rows),
            where=[row.where for row in rows],
            pad_id=self.tokenizer.pad_id,
        )

    def _check_known(self) -> None:
        """Raises ConfigError for a marker that the network cannot see."""
        unknown = self.tokenizer.token_id(str(self.tokenizer.settings.get("unk_token", "")))
        for marker in self.markers:
            ids = self.tokenizer.encode(marker)
            if not ids or unknown in ids:
                raise ConfigError(
                    f"The tokenizer has no token for the marker {marker!r}, so that the network"
                    " would not see it. Set data.markers to four texts that it knows, such as"
                    ' ["*", "*", "/", "/"].'
                )

    def _doubtful(
        self, rows: Sequence[Row], texts: Sequence[str], framed: Sequence[Framed]
    ) -> list[str]:
        """Says in how many rows the markers are lost or not the only ones."""
        lost = [
            number
            for number, (row, text) in enumerate(zip(framed, texts, strict=True))
            if row.was_cut and _end_of_markers(rows[number], text) > _read(row)
        ]
        own = [
            n
            for n, row in enumerate(rows)
            if any(m in str(row.fields["text"]) for m in self.markers)
        ]
        remarks = []
        if lost:
            remarks.append(
                f"{len(lost):,} texts (the first: {rows[lost[0]].where}) are cut before their head"
                f" or tail ends, at seq_len={self.seq_len}. Set data.seq_len higher"
            )
        if own:
            remarks.append(
                f"{len(own):,} texts (the first: {rows[own[0]].where}) hold a marker of their own"
                f" ({' '.join(dict.fromkeys(self.markers))}). If they are many, set data.markers to"
                " what no text has"
            )
        return remarks


def mark_relation(
    text: str,
    head: Sequence[int],
    tail: Sequence[int],
    markers: Sequence[str] = MARKERS,
) -> str:
    """Encloses head and tail in markers, with a space on each side of a marker.

    Args:
        text: The text.
        head: The characters of the head, from and to.
        tail: Those of the tail, which does not overlap the head.
        markers: Before and behind the head, before and behind the tail.

    Returns:
        `@ Marie Curie @ was born in # Warsaw #`.
    """
    parts = ((head, markers[:2]), (tail, markers[2:]))
    for (start, end), (opening, closing) in sorted(parts, key=lambda part: -part[0][0]):
        before, inside, after = text[:start], text[start:end], text[end:]
        before += "" if not before or before[-1].isspace() else " "
        after = after if not after or after[0].isspace() else f" {after}"
        text = f"{before}{opening} {inside} {closing}{after}"
    return text


def check_markers(markers: Sequence[str]) -> None:
    """Raises ConfigError for markers that are no four texts, or alike for head and tail."""
    if len(markers) != 4 or not all(marker.strip() for marker in markers):
        raise ConfigError(
            f"data.markers={list(markers)} are no four texts: before and behind the head, before"
            f" and behind the tail. {list(MARKERS)} are usual."
        )
    if set(markers[:2]) & set(markers[2:]):
        raise ConfigError(
            f"data.markers={list(markers)} are alike for head and tail, so that nobody can tell"
            f" which is which. Give each its own, such as {list(MARKERS)}."
        )


def _marked(row: Row, markers: Sequence[str]) -> str:
    fields: Any = row.fields
    return mark_relation(fields["text"], fields["head"], fields["tail"], markers)


def _end_of_markers(row: Row, marked: str) -> int:
    """Finds the character behind the last marker: what follows it in the text has not changed."""
    fields: Any = row.fields
    end = max(fields["head"][1], fields["tail"][1])
    rest = fields["text"][end:]
    return len(marked) - len(rest) - (not rest[:1].isspace() and bool(rest))


def _read(framed: Framed) -> int:
    """Finds the character behind the last that the network reads."""
    return max((end for _, end in framed.offsets), default=0)


def _has_spans(row: Row) -> Row | BadRow:
    """Refuses a head or a tail that is no part of the text, and two that overlap."""
    text: Any = row.fields["text"]
    for name in ("head", "tail"):
        span = row.fields[name]
        if not _is_span(span, text):
            return bad(
                row,
                f"no {name}",
                f"'{name}' is {span!r}, and the text has {len(text)} characters",
                "Give [from, to] in characters, of something that is not blank",
            )
    head: Any = row.fields["head"]
    tail: Any = row.fields["tail"]
    if head[0] < tail[1] and tail[0] < head[1]:
        what = f"head {list(head)} and tail {list(tail)} overlap"
        return bad(row, "overlap", what, "Give each its own part of the text")
    return row


def _is_span(span: Any, text: str) -> bool:
    if not isinstance(span, (list, tuple)) or len(span) != 2:
        return False
    if any(isinstance(place, bool) or not isinstance(place, int) for place in span):
        return False
    start, end = span
    return 0 <= start < end <= len(text) and not text[start:end].isspace()
