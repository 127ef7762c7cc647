"""Conll: a word and its tag on each line, a blank line between sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from pathlib import Path

from roots.errors import ConfigError
from roots.records import BadRow, Row
from roots.sources.decoding import Decoder
from roots.sources.finding import find_files
from roots.sources.rows.delimited import UNEQUAL
from roots.sources.rows.row_source import RowSource
from roots.sources.rows.text_lines import Line, text_lines, undecodable

ENDINGS = [
    f"{e}{packed}" for e in (".conll", ".conllu", ".iob", ".iob2", ".bio") for packed in ("", ".gz")
]
_DOCUMENT = "-DOCSTART-"
_UNIVERSAL = 10
"""Columns that a file of Universal Dependencies has."""
_NO_WORD = re.compile(r"\d+[-.]\d+\t")
_SPACES = re.compile(r"[ \t]+")


class Conll(RowSource):
    """Reads word-level tags in columns, as the CoNLL shared tasks wrote them.

    A row is a sentence with the fields `words` and `tags`, two lists of strings; it is named by its
    first line. Columns are divided by tabs if the first line with a word has one, else by spaces; a
    file of one column has words alone. `-DOCSTART-` lines are passed over.

    A `.conllu` file of ten columns (https://universaldependencies.org/format.html) has its words in
    column 1 and their parts of speech in column 3, where no others are given; its comments, and its
    lines of several words (`3-4`) and of none (`5.1`), are passed over.

    Args:
        paths: Files, globs, or folders (searched for `.conll`, `.conllu`, `.iob`, `.iob2`, `.bio`
            and these with `.gz`); `~` and `${VARIABLE}` are expanded.
        word_column: Which column holds the word, from 0; negative numbers count from the end.
        tag_column: Which column holds the tag. Where both are counted from the front, sentences may
            have different numbers of columns, as those of CoNLL-2012 have.
        comment: How lines begin that are passed over, such as `"# "`; empty if there are none.
        encoding: How the files are encoded.
        tagged: Whether words have tags; else only the column of the words is looked at.

    Raises:
        ConfigError: Word and tag are the same column, or the encoding is unknown.
    """

    no_word: re.Pattern[str] | None = None
    """How lines begin that are no word of a sentence."""

    def __init__(
        self,
        *,
        paths: str | list[str],
        word_column: int = 0,
        tag_column: int = -1,
        comment: str = "",
        encoding: str = "utf-8",
        tagged: bool = True,
    ) -> None:
        if tagged and word_column == tag_column:
            raise ConfigError(
                f"word_column and tag_column are both {word_column}."
                " Columns count from 0, or from -1 backwards: give each its own."
            )
        self.paths = paths
        self.word_column = word_column
        self.tag_column = tag_column
        self.comment = comment
        self.encoding = encoding
        self.tagged = tagged
        Decoder(encoding=encoding)

    def files(self) -> list[Path]:
        """Lists the files that `paths` names."""
        return find_files(self.paths, ENDINGS)

    def read(self) -> Iterator[Row | BadRow]:
        """Streams one row per sentence, of one file after another."""
        for path in self.files():
            yield from self._fitting(path)._read(path)

    def _fitting(self, path: Path) -> Conll:
        """Gives what reads a file: itself, but for one of Universal Dependencies."""
        if not self._is_universal(path):
            return self
        fitting = copy(self)
        fitting.word_column = self.word_column or 1
        fitting.tag_column = 3 if self.tag_column == -1 else self.tag_column
        fitting.comment = self.comment or "#"
        fitting.no_word = _NO_WORD
        return fitting

    def _is_universal(self, path: Path) -> bool:
        """Tells whether a file is one of Universal Dependencies: by its ending and its columns."""
        if not path.name.lower().removesuffix(".gz").endswith(".conllu"):
            return False
        lines = (line.text for line in text_lines(path, self.encoding))
        first = next((text for text in lines if text.strip() and not text.startswith("#")), "")
        return len(_split(first, tabs=True)) == _UNIVERSAL

    def _read(self, path: Path) -> Iterator[Row | BadRow]:
        may_vary = min(self.word_column, self.tag_column) >= 0
        tabs = None
        n_columns = 0
        for sentence in self._sentences(path):
            if tabs is None or may_vary:
                tabs = "\t" in sentence[0].text if tabs is None else tabs
                n_columns = len(_split(sentence[0].text, tabs))
            yield self._row(path, sentence, tabs, n_columns)

    def _sentences(self, path: Path) -> Iterator[list[Line]]:
        sentence: list[Line] = []
        for line in text_lines(path, self.encoding):
            if self.comment and line.text.startswith(self.comment):
                continue
            if self.no_word and self.no_word.match(line.text):
                continue
            if line.text.strip() and not line.text.startswith(_DOCUMENT):
                sentence.append(line)
            elif sentence:
                yield sentence
                sentence = []
        if sentence:
            yield sentence

    def _row(self, path: Path, sentence: list[Line], tabs: bool, n_columns: int) -> Row | BadRow:
        words, tags = [], []
        for line in sentence:
            values = _split(line.text, tabs)
            if line.problem:
                return undecodable(path, line)
            if len(values) != n_columns:
                return _unequal(path, line, len(values), n_columns, sentence)
            if n_columns > 1 and not self._are_there(n_columns):
                return self._too_few(path, line, n_columns, sentence)
            words.append(values[self.word_column if n_columns > 1 else 0])
            tags += [values[self.tag_column]] if self.tagged and n_columns > 1 else []
        fields = {"words": words, "tags": tags} if tags else {"words": words}
        return Row(fields, f"{path}:{sentence[0].number}")

    def _are_there(self, n_columns: int) -> bool:
        """Tells whether word and tag are columns, and not the same one counted from both ends."""
        needed = [self.word_column, *([self.tag_column] if self.tagged else [])]
        there = all(-n_columns <= each < n_columns for each in needed)
        return there and len({each % n_columns for each in needed}) == len(needed)

    def _too_few(self, path: Path, line: Line, n_columns: int, sentence: list[Line]) -> BadRow:
        where = f"{path}:{line.number}"
        word, tag = f"word_column={self.word_column}", f"tag_column={self.tag_column}"
        so, these = (
            (f"{word} and {tag} are not two", "these two")
            if self.tagged
            else (f"{word} is none", "it")
        )
        message = (
            f"{where} has {n_columns} columns, so {so} of them. Columns are divided by tabs or"
            f" spaces and count from 0: set {these} to what there is."
        )
        return BadRow(where, UNEQUAL, message, _content(sentence))


def _split(text: str, tabs: bool) -> list[str]:
    if tabs:
        return text.removesuffix("\n").removesuffix("\r").split("\t")
    return _SPACES.split(text.strip(" \t\r\n"))


def _unequal(path: Path, line: Line, n_values: int, n_columns: int, sentence: list[Line]) -> BadRow:
    where = f"{path}:{line.number}"
    message = (
        f"{where}, in the sentence from line {sentence[0].number}, has {n_values} values and a"
        f" line before it {n_columns}. Mend the line; a blank line ends a sentence."
    )
    return BadRow(where, UNEQUAL, message, _content(sentence))


def _content(sentence: list[Line]) -> list[str]:
    return [line.text.rstrip("\r\n") for line in sentence]
