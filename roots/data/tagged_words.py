"""Sentences of words, each with a tag: named entities and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

from roots.batch import IGNORE
from roots.data.cards import quotation
from roots.data.ragged import Ragged
from roots.data.splits import Split, framed_split
from roots.data.task_data import TaskData
from roots.data.task_rows import passed
from roots.errors import ConfigError
from roots.objectives import balanced
from roots.records import Labels, Row
from roots.sources.rows import Check, LabelSet, RowSource
from roots.sources.rows import TaggedWords as WordsAndTags
from roots.tokenizer import UNREAD, Framed, Framing, Sentence, first_tokens, words_of

OUTSIDE = "O"
"""The tag of a word that is in no entity."""


class TaggedWords(TaskData):
    """Reads sentences with a tag per word: fields `words` and `tags`, two lists of one length.

    A tag is `O`, or where in an entity the word is and the entity's type: `B-person`, `I-person`.
    Labels are measured by words: the first token of a word says its tag, and a word of which the
    network sees no token (the tokenizer drops it, or `seq_len` cuts it off) counts as `O`, so
    that its entity is missed. How many those are, is said.

    Args:
        train: A file (conll, jsonl, json, parquet, …) of training rows, or a reader of rows.
        val: Validation rows; empty holds out a part of the training rows.
        test: Test rows; may be empty.
        label_tokens: Which tokens of a word are learned: its `first`, or `all`. Of `all`, those
            behind the first token of a `B-` word are `I-`.
        labels: The tags in the order of their numbers, or a file that names one a line; empty
            takes those that occur in the training rows, `O` first, the others sorted.
        tokenizer: A folder or hub name with the tokenizer; empty takes that of the network.
        seq_len: Tokens of a row at most; longer ones are cut, and how many is said.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        val_fraction: Share of the training rows that is held out where `val` is empty: copies of a
            sentence stay together, and each run has the same.
        fold: With `folds`, which of them is validated on, from 1.
        folds: Divide the training rows into so many parts for a cross-validation, as `val_fraction`
            divides them, and train on all parts but `fold`; 0 does not.
        like_lengths: Make each step of rows of like length, so that little is filled up.
        columns: The file's name for each field, where they differ: `{words: tokens}`.
        on_bad_row: `error` ends at the first bad row; `skip` leaves bad rows out and counts them.
        max_bad_fraction: With `skip`, more bad rows than this share of all are an error.
        rejected_file: With `skip`, where the bad rows of the training data are written; empty
            writes them nowhere.

    Raises:
        ConfigError: A number that cannot work, `label_tokens` that is neither, or labels
            without `O`.
    """

    asks: ClassVar[str] = "the tags of words"
    ARGUMENTS: ClassVar = ("label_tokens", "labels")
    KEPT_AS: ClassVar = {**TaskData.KEPT_AS, "labels": "given_labels"}
    FIELDS: ClassVar = ("words", "tags")
    LABELS: ClassVar = ("tags",)
    LINE: ClassVar = "words"

    def __init__(
        self,
        *,
        train: str | list[str] | RowSource,
        val: str | list[str] | RowSource = "",
        test: str | list[str] | RowSource = "",
        label_tokens: str = "first",
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
        if label_tokens not in ("first", "all"):
            raise ConfigError(
                f"data.label_tokens={label_tokens!r} is neither first nor all. Set one of them."
            )
        self.label_tokens = label_tokens
        self._take_labels(labels)

    @property
    def labels(self) -> Labels:
        """The tags."""
        if self._labels is None:
            self.split("train")
        assert self._labels is not None
        return Labels(kind="one", names=self._labels.names)

    def balanced_weights(self) -> list[float]:
        """Weighs each tag by how rare it is among the labelled tokens; 1 where it never is.

        There are no weights where no training rows are read.
        """
        if self._is_told:
            return []
        labels = self.split("train").labels.values  # type: ignore[union-attr]
        return balanced(labels[labels != IGNORE], len(self.labels.names))

    def recall(self, told: Any) -> None:
        """Takes the labels as well."""
        super().recall(told)
        self._recall_labels(told)

    # -- rows --------------------------------------------------------------------------------

    def checks(self) -> Sequence[Check]:
        """Words, and as many tags."""
        return [WordsAndTags(labels=self._labels)]

    def without_labels(self, row: Row) -> Mapping[str, object]:
        """Gives each word the tag of words in no entity."""
        words = row.fields.get("words")
        return {"tags": [OUTSIDE] * len(words) if isinstance(words, (list, tuple)) else []}

    def learn(self, rows: list[Row]) -> list[Row]:
        """Takes the tags, where they are not given."""
        found: list[Any] = [tag for row in rows for tag in row.fields["tags"]]  # type: ignore[attr-defined]
        if self._labels is None:
            known = LabelSet.of(found, "tags").names
            names = [OUTSIDE, *(name for name in known if name != OUTSIDE)]
            self._known = LabelSet([*names, *self._continuing(names)])
            return passed(rows, WordsAndTags(labels=self._known))
        seen_types = {_type(self._labels.names[tag]) for tag in found}
        seen = {tag for tag, name in enumerate(self._labels.names) if _type(name) in seen_types}
        self._labels.check_all_seen({*seen, self._labels.names.index(OUTSIDE)}, "tags")
        return rows

    def texts_of(self, row: Row) -> str:
        """The words."""
        return "\0".join(_words(row))

    def classes_of(self, row: Row) -> Sequence[str]:
        """The tags."""
        tags: Any = row.fields["tags"]
        return [self.labels.names[tag] for tag in tags]

    def make_split(self, rows: Sequence[Row]) -> Split:
        """Tokenizes the words, with the special tokens that the network expects."""
        framed = Framing(self.tokenizer, max_tokens=self.seq_len).frame_words(
            [_words(row) for row in rows]
        )
        sentences = [_sentence(row, text) for row, text in zip(rows, framed, strict=True)]
        self.remarks += self._unread(rows, framed, sentences)
        then = self._labels_behind()
        split = framed_split(
            framed,
            labels=Ragged.of(
                [
                    token_labels(text.word_ids, sentence.tags, then)
                    for text, sentence in zip(framed, sentences, strict=True)
                ]
            ),
            where=[row.where for row in rows],
            pad_id=self.tokenizer.pad_id,
        )
        return replace(split, about=sentences)

    def quoted(self, split: str, sample: int, place: int) -> dict[str, Any]:
        """Tells where a sentence stands, its words, and the word that has the token."""
        rows = self.split(split)
        sentence: Any = rows.about[sample]
        begun = [n for n, first in enumerate(sentence.places) if UNREAD != first <= place]
        word = {"word": sentence.words[begun[-1]]} if begun else {}
        return {
            "where": rows.where[sample],
            "text": quotation(" ".join(sentence.words)),
            **word,
        }

    # -- how -----------------------------------------------------------------------------------

    def _given(self) -> LabelSet:
        labels = LabelSet.given(self.given_labels)
        if OUTSIDE not in labels.names:
            raise ConfigError(
                f"data.labels has no {OUTSIDE!r}, the tag of words in no entity; it has"
                f" {', '.join(labels.names)}. Add it, in its place among the numbers."
            )
        names = [*labels.names, *self._continuing(labels.names)]
        return LabelSet(names, by_number=labels.by_number)

    def _continuing(self, names: Sequence[str]) -> list[str]:
        """Gives the tags that only tokens behind a word's first need, if those are learned."""
        needed = [_behind(name) for name in names] if self.label_tokens == "all" else []
        return [name for name in dict.fromkeys(needed) if name not in names]

    def _labels_behind(self) -> list[int]:
        """Gives the label of a token behind a word's first, for each tag of the word."""
        names = self.labels.names
        if self.label_tokens == "first":
            return [IGNORE] * len(names)
        return [names.index(_behind(name)) for name in names]

    def _unread(
        self, rows: Sequence[Row], framed: Sequence[Framed], sentences: Sequence[Sentence]
    ) -> list[str]:
        """Says of which words the network sees no token, and what becomes of them."""
        dropped: list[int] = []
        cut: list[int] = []
        for number, (text, sentence) in enumerate(zip(framed, sentences, strict=True)):
            last = max((word for word in text.word_ids if word is not None), default=-1)
            for word, place in enumerate(sentence.places):
                if place == UNREAD:
                    (cut if text.was_cut and word > last else dropped).append(number)
        remarks = []
        if dropped:
            remarks.append(
                f"{_counted(dropped, rows)} give no token and count as {OUTSIDE}: the tokenizer"
                " drops their characters"
            )
        if cut:
            whole = Framing(self.tokenizer, max_tokens=2**20)
            longest = whole.frame_words([_words(rows[number]) for number in dict.fromkeys(cut)])
            remarks.append(
                f"{_counted(cut, rows)} lie behind seq_len={self.seq_len}: they teach nothing and"
                f" count as {OUTSIDE}. Set data.seq_len to {max(len(f.ids) for f in longest)} to"
                " read them all"
            )
        return remarks


def token_labels(
    word_ids: Sequence[int | None], tags: Sequence[int], behind: Sequence[int]
) -> list[int]:
    """Labels the tokens of a sentence.

    Args:
        word_ids: Which word each token belongs to; None for a special token.
        tags: The number of each word's tag.
        behind: The label of a token behind its word's first, for each tag; `IGNORE` for none.
    """
    labels = []
    for before, word in pairwise([None, *word_ids]):
        if word is None:
            labels.append(IGNORE)
        else:
            labels.append(behind[tags[word]] if word == before else tags[word])
    return labels


def _behind(tag: str) -> str:
    """Gives the tag of a token behind the first of its word: an entity begins only once."""
    place, hyphen, kind = tag.partition("-")
    return f"I{hyphen}{kind}" if place in ("B", "S") else tag


def _type(tag: str) -> str:
    return tag.partition("-")[2]


def _words(row: Row) -> Sequence[str]:
    words: Any = row.fields["words"]
    return list(words)


def _sentence(row: Row, framed: Framed) -> Sentence:
    words, tags = _words(row), row.fields["tags"]
    text = str(row.fields.get("text", ""))  # of a line that was divided into the words
    spans = [(start, end) for _, start, end in words_of(text)]
    return Sentence(words, first_tokens(framed.word_ids, len(words)), tags, text, spans)  # type: ignore[arg-type]


def _counted(numbers: Sequence[int], rows: Sequence[Row]) -> str:
    n_rows = len(set(numbers))
    return (
        f"{len(numbers):,} word{'s' * (len(numbers) > 1)} of {n_rows:,} sentence"
        f"{'s' * (n_rows > 1)} (the first: {rows[numbers[0]].where})"
    )
