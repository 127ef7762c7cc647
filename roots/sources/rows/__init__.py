"""Readers of labelled rows, what a row must be, and how rows are divided.

row_source.py     RowSource, the face that a data module knows
by_ending.py      rows_from: the reader of a file by its ending
delimited.py      Delimited: .csv and .tsv        table_lines.py  lines to values, with quotes
json_rows.py      JsonRows: objects on lines or in an array
parquet.py        Parquet
hugging_face.py   HuggingFaceRows: saved folders, data files, the hub
conll.py          Conll: a word and its tag on each line
squad.py          Squad: questions on paragraphs   answers.py      what must hold of an answer
messages.py       Messages: what must hold of a conversation
preferred.py      PreferredAnswers: what must hold of a pair of answers
parallel_text.py  ParallelText: two files, line by line
text_lines.py     lines that know their own trouble
columns.py        Columns: the file's columns under the task's names
labels.py         LabelSet: the classes and their numbers
checks.py         what is asked of one row
checked.py        CheckedRows: the good rows, and books of the others
held_out.py       hold_out: a development part
folds.py          fold_of_rows: the parts of a cross-validation
leak.py           KnownTexts: what is trained on, to find it in what is measured on
"""

from __future__ import annotations

from roots.sources.rows.answers import check_answers
from roots.sources.rows.by_ending import rows_from
from roots.sources.rows.checked import CheckedRows, RowBooks
from roots.sources.rows.checks import Check, HasText, ManyLabels, Number, OneLabel, TaggedWords
from roots.sources.rows.columns import Columns
from roots.sources.rows.conll import Conll
from roots.sources.rows.delimited import Delimited
from roots.sources.rows.folds import fold_of_rows
from roots.sources.rows.held_out import hold_out
from roots.sources.rows.hugging_face import HuggingFaceRows
from roots.sources.rows.json_rows import JsonRows
from roots.sources.rows.labels import LabelSet, check_some_lack, label_name, plain_labels
from roots.sources.rows.leak import KnownTexts, Leak
from roots.sources.rows.messages import Messages
from roots.sources.rows.parallel_text import ParallelText
from roots.sources.rows.parquet import Parquet
from roots.sources.rows.preferred import PreferredAnswers
from roots.sources.rows.row_source import RowSource
from roots.sources.rows.squad import Squad, given_once

__all__ = [
    "Check",
    "CheckedRows",
    "Columns",
    "Conll",
    "Delimited",
    "HasText",
    "HuggingFaceRows",
    "JsonRows",
    "KnownTexts",
    "LabelSet",
    "Leak",
    "ManyLabels",
    "Messages",
    "Number",
    "OneLabel",
    "ParallelText",
    "Parquet",
    "PreferredAnswers",
    "RowBooks",
    "RowSource",
    "Squad",
    "TaggedWords",
    "check_answers",
    "check_some_lack",
    "fold_of_rows",
    "given_once",
    "hold_out",
    "label_name",
    "plain_labels",
    "rows_from",
]
