"""RayStages: a list of stages for the `map_batches` of Ray Data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

from roots.corpus.books import Books
from roots.corpus.engines.stage_list import DOCUMENTS, StageList
from roots.corpus.pipeline import Pipeline
from roots.corpus.stage import Part
from roots.corpus.staging import Dropped
from roots.errors import ConfigError, DataError
from roots.records import Document

_DECIDED = ("dropped_by", "drop_reason", "drop_detail", "books")


class RayStages:
    """Decides about the rows of tables, each a document with its text in one column.

        import ray
        from roots.corpus import GopherQuality, Normalise, Pii
        from roots.corpus.engines import RayStages

        stages = RayStages([Normalise(), GopherQuality(), Pii()])
        pages = ray.data.read_parquet("pages")
        decided = pages.map_batches(stages, batch_format="pyarrow").materialize()
        decided.map_batches(RayStages.kept, batch_format="pyarrow").write_parquet("kept")
        print(stages.books(decided))

    No row leaves at first. `dropped_by`, `drop_reason` and `drop_detail` say which stage dropped
    it and why, and are null for what goes on; the text of a dropped row is without what `Pii` would
    replace, so that every dropped row is read by `Pii` and `PersonNames` too, wherever these stand
    in the list. The books of a batch stand in its first row, in the column `books`: so Ray may run
    a task twice, or lose one and run it again, and every document is still counted once. `kept`
    takes the dropped rows and these columns out.

    Args:
        stages: In their order; or a `Pipeline` of them.
        text_column: Holds the texts; a null is an empty one, also where there is nothing else.
        id_column: Holds what names a document in messages, if there is such a column.
        source_column: Holds the name of its source in the books, if there is such a column.

    Raises:
        ConfigError: A part is a pass, or a batch is no table of pyarrow.
        DataError: The batch has no column of texts, one of something else, or was decided about
            before.
        MissingExtra: A task lacks a package that a stage needs.
    """

    def __init__(
        self,
        stages: Sequence[Part] | Pipeline,
        *,
        text_column: str = "text",
        id_column: str = "id",
        source_column: str = "source",
    ) -> None:
        self.stages = StageList(stages)
        self.text_column = text_column
        self.id_column = id_column
        self.source_column = source_column

    def __call__(self, table: pa.Table) -> pa.Table:
        """Gives as many rows, with texts as the stages leave them and what was decided."""
        self._check(table)
        table = self._with_texts(table)
        self.stages.check()
        books = self.stages.books()
        texts, decisions = [], []
        for document in self._documents(table):
            outcome = self.stages.decide(document, books)
            texts.append(self._text(outcome))
            decisions.append(self._decision(outcome, books))
        at = table.schema.get_field_index(self.text_column)
        field = table.schema.field(at)
        decided = table.set_column(at, field, pa.array(texts, field.type))
        for number, name in enumerate(_DECIDED[:-1]):
            decided = decided.append_column(
                name, pa.array([each[number] for each in decisions], pa.string())
            )
        written = [json.dumps(books.plain()), *[None] * len(texts)][: len(texts)]
        return decided.append_column(_DECIDED[-1], pa.array(written, pa.string()))

    @staticmethod
    def kept(table: pa.Table) -> pa.Table:
        """Takes out of a decided table the rows that were dropped, and what was decided."""
        return table.filter(table["dropped_by"].is_null()).drop_columns(list(_DECIDED))

    def books(self, decided: Any) -> Books:
        """Adds up the books of all batches.

        Args:
            decided: The Ray dataset that `map_batches` gave, with all of its rows. Materialise it
                or write it down first, or all stages are run again.

        Raises:
            DataError: Rows were taken out or doubled before.
        """
        total, n_rows = self.stages.books(), 0
        column = decided.select_columns([_DECIDED[-1]])
        for table in column.iter_batches(batch_size=None, batch_format="pyarrow"):
            n_rows += table.num_rows
            for written in table[_DECIDED[-1]].drop_null().to_pylist():
                total.add(Books.from_plain(json.loads(written), DOCUMENTS))
        if n_rows != total.documents_in:
            raise DataError(
                f"The books count {total.documents_in:,} documents, and the dataset has {n_rows:,}"
                " rows. Add the books up on what map_batches gave, before rows are taken out."
            )
        return total

    def _documents(self, table: pa.Table) -> list[Document]:
        rows = table.to_pylist()
        return [
            Document(
                text=row[self.text_column] or "",
                id=str(_known(row.get(self.id_column), f"row {number:,} of a batch")),
                metadata={key: row[key] for key in row if key != self.text_column},
                source=str(row.get(self.source_column) or ""),
            )
            for number, row in enumerate(rows)
        ]

    def _text(self, outcome: Document | Dropped) -> str:
        if isinstance(outcome, Dropped):
            return self.stages.redact(outcome.document.text)
        return outcome.text

    def _decision(
        self, outcome: Document | Dropped, books: Books
    ) -> tuple[str | None, str | None, str | None]:
        if not isinstance(outcome, Dropped):
            return None, None, None
        drop = outcome.drop
        return books.names[outcome.part], drop.reason, self.stages.redact(drop.detail)

    def _with_texts(self, table: pa.Table) -> pa.Table:
        """Gives a column that holds nothing at all, and so no type, that of texts.

        Raises:
            DataError: It holds something that is no text.
        """
        at = table.schema.get_field_index(self.text_column)
        kind = table.schema.field(at).type
        if pa.types.is_null(kind):
            return table.set_column(at, self.text_column, table.column(at).cast(pa.string()))
        values = kind.value_type if pa.types.is_dictionary(kind) else kind
        if _is_text(values):
            return table
        raise DataError(
            f"The column '{self.text_column}' has the type {kind}, and stages decide about texts."
            " Set text_column to that of the texts, or turn it into texts before: its"
            ' .cast("string") of pyarrow takes numbers, and bytes in UTF-8.'
        )

    def _check(self, table: pa.Table) -> None:
        if not isinstance(table, pa.Table):
            raise ConfigError(
                f"The batch is a {type(table).__name__}. Call"
                ' map_batches(stages, batch_format="pyarrow").'
            )
        names = table.column_names
        if self.text_column not in names:
            raise DataError(
                f"There is no column '{self.text_column}' among {', '.join(names)}. Set"
                " text_column to that of the texts."
            )
        if before := [name for name in _DECIDED if name in names]:
            raise DataError(
                f"The rows have columns {', '.join(before)}: they were decided about before. Put"
                " RayStages.kept in between, or give all stages at once."
            )


def _is_text(kind: pa.DataType) -> bool:
    of = pa.types
    return bool(of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind))


def _known(value: Any, otherwise: str) -> Any:
    return otherwise if value is None else value
