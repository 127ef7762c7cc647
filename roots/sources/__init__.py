"""Readers of text: every source streams `Document`s in an order that never changes.

source.py            Source, the face that `roots.corpus` knows
text.py              Text: plain text, a document per file, line or paragraph
jsonl.py             Jsonl: one JSON object per line, plain or gzipped
folder.py            Folder: every source file below a folder
standard_library.py  StandardLibrary: the sources of the running Python
row_texts.py         RowTexts: a column of labelled rows
rows/                readers of labelled rows: tables, JSON, CoNLL, SQuAD, parallel text
finding.py           which files a `paths` argument names
opening.py           files as bytes, plain or gzipped, whole or line by line
decoding.py          bytes to text, with every replaced byte counted
"""

from __future__ import annotations

from roots.sources.folder import Folder
from roots.sources.jsonl import Jsonl
from roots.sources.row_texts import RowTexts
from roots.sources.source import Source
from roots.sources.standard_library import StandardLibrary
from roots.sources.text import Text

__all__ = ["Folder", "Jsonl", "RowTexts", "Source", "StandardLibrary", "Text"]
