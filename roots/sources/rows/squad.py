"""Squad: questions on paragraphs, SQuAD 1.1 and 2.0; every answer is checked to be where it says.

A file is one JSON object, `{"data": [{"title", "paragraphs": [{"context", "qas": [{"id",
"question", "answers": [{"text", "answer_start"}], "is_impossible"}]}]}]}`; the last is new in 2.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roots.errors import DataError
from roots.records import BadRow, Row
from roots.sources.finding import find_files
from roots.sources.jsonl import kind_of
from roots.sources.rows.answers import check_answers, missing_key
from roots.sources.rows.json_rows import parse_whole
from roots.sources.rows.row_source import RowSource

ENDINGS = [".json", ".json.gz"]


class Squad(RowSource):
    """Reads questions with their paragraphs and answers.

    A row has the fields `id`, `title`, `context`, `question`, `answers` (a list of `{text,
    answer_start}`, characters from 0; several people's answers may repeat) and `is_impossible`. It
    is named by its place, `dev.json .data[0].paragraphs[2].qas[1]`, as `jq` takes it.

    Args:
        paths: Files, globs, or folders (searched for `.json` and `.json.gz`); `~` and
            `${VARIABLE}` are expanded.
        answered: Whether questions have answers; else they are only asked, and answers that are
            there are not looked at.
    """

    def __init__(self, *, paths: str | list[str], answered: bool = True) -> None:
        self.paths = paths
        self.answered = answered

    def files(self) -> list[Path]:
        """Lists the files that `paths` names."""
        return find_files(self.paths, ENDINGS)

    def read(self) -> Iterator[Row | BadRow]:
        """Streams one row per question; an `id` that came before makes a bad row."""
        places: dict[str, str] = {}
        for path in self.files():
            for row in _questions(path, self.answered):
                yield row if isinstance(row, BadRow) else given_once(row, places)


def _questions(path: Path, answered: bool) -> Iterator[Row | BadRow]:
    content = parse_whole(path)
    if not isinstance(content, dict) or not isinstance(content.get("data"), list):
        keys = f"an object with {', '.join(content)}" if isinstance(content, dict) else ""
        raise DataError(
            f'{path} is {keys or kind_of(content)}, and not SQuAD\'s {{"data": [articles]}}.'
            " Read flat rows with roots.sources.rows.JsonRows."
        )
    for number, article in enumerate(content["data"]):
        where = f"{path} .data[{number}]"
        for paragraph, place in _listed(article, "paragraphs", where):
            yield from _of_paragraph(article, paragraph, place, answered)


def _of_paragraph(
    article: Any, paragraph: Any, where: str, answered: bool
) -> Iterator[Row | BadRow]:
    if isinstance(paragraph, BadRow):
        yield paragraph
        return
    for question, place in _listed(paragraph, "qas", where):
        if isinstance(question, BadRow):
            yield question
            continue
        asked = question if answered else {**question, "answers": [], "is_impossible": True}
        yield _row(article, paragraph, asked, place)


def _listed(parent: Any, key: str, where: str) -> Iterator[tuple[Any, str]]:
    """Yields the objects of a list with their places; what is none comes as a `BadRow`."""
    items = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(items, list):
        yield missing_key(where, key, "a list", parent), where
        return
    for number, item in enumerate(items):
        place = f"{where}.{key}[{number}]"
        good = isinstance(item, dict)
        yield (item if good else missing_key(place, "", "an object", item)), place


def _row(
    article: Mapping[str, Any],
    paragraph: Mapping[str, Any],
    question: Mapping[str, Any],
    where: str,
) -> Row | BadRow:
    fields = {
        "id": question.get("id"),
        "title": article.get("title", ""),
        "context": paragraph.get("context"),
        "question": question.get("question"),
        "answers": question.get("answers"),
        "is_impossible": question.get("is_impossible", False),
    }
    return check_answers(Row(fields, where))


def given_once(row: Row, places: dict[str, str]) -> Row | BadRow:
    """Refuses a row whose `id` is in `places`, where those of the rows before it are kept."""
    name = str(row.fields["id"])
    if name in places:
        message = (
            f"{row.where}: the id '{name}' was given to {places[name]} already, and predictions"
            " are kept by id. Give each question its own."
        )
        return BadRow(row.where, "id given twice", message, row.fields)
    places[name] = row.where
    return row
