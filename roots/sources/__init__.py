"""Readers of text: every source streams `Document`s in an order that never changes.

source.py            Source, the face that `roots.corpus` knows
text.py              Text: plain text, a document per file, line or paragraph
jsonl.py             Jsonl: one JSON object per line
csv_table.py         Csv: a table with a header line
parquet.py           Parquet: a column of texts
web_pages.py         WebPages: the main text of pages, in WARC archives or HTML files
record_source.py     RecordSource: what to do with a bad record of these four
several.py           Several: sources by name, one after another
folder.py            Folder: every source file below a folder
standard_library.py  StandardLibrary: the sources of the running Python
row_texts.py         RowTexts: a column of labelled rows
rows/                readers of labelled rows: tables, JSON, CoNLL, SQuAD, parallel text
finding.py           which files a `paths` argument names
stored.py            the same in an object store
opening.py           files as bytes, plain or compressed, whole or line by line
zstd.py              the decompressed bytes of .zst files
decoding.py          bytes to text, with every replaced byte counted
"""

from __future__ import annotations

from roots.sources.csv_table import Csv
from roots.sources.folder import Folder
from roots.sources.jsonl import Jsonl
from roots.sources.parquet import Parquet
from roots.sources.record_source import RecordSource
from roots.sources.row_texts import RowTexts
from roots.sources.several import Several
from roots.sources.source import Source
from roots.sources.standard_library import StandardLibrary
from roots.sources.text import Text
from roots.sources.web_pages import WebPages

__all__ = [
    "Csv",
    "Folder",
    "Jsonl",
    "Parquet",
    "RecordSource",
    "RowTexts",
    "Several",
    "Source",
    "StandardLibrary",
    "Text",
    "WebPages",
]
