"""RayStages on tables, without Ray; test_ray_data.py runs it under Ray."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pyarrow as pa
import pytest
from engine_documents import single_machine, stages, texts

from roots.corpus import ExactDuplicates, Language, Normalise, Pii
from roots.corpus.engines import RayStages
from roots.errors import ConfigError, DataError, MissingExtra
from roots.records import Document


@dataclass
class Tables:
    """As much of a Ray dataset as the books ask of one."""

    tables: list[pa.Table]

    def select_columns(self, names):
        return Tables([table.select(names) for table in self.tables])

    def iter_batches(self, *, batch_size, batch_format):
        assert (batch_size, batch_format) == (None, "pyarrow")
        return iter(self.tables)


def documents() -> list[Document]:
    sources = ("web", "books", "")
    return [Document(t, f"d{i}", {"source": sources[i % 3], "n": i}) for i, t in enumerate(texts())]


def table_of(given: list[Document], kind: pa.DataType | None = None) -> pa.Table:
    rows = [{"text": d.text, "id": d.id, **d.metadata} for d in given]
    table = pa.Table.from_pylist(rows)
    return table.set_column(0, "text", table["text"].cast(kind or pa.string()))


def test_batches_give_what_one_machine_keeps_and_its_books() -> None:
    given = documents()
    whole = table_of(given, pa.large_string())
    step = pickle.loads(pickle.dumps(RayStages(stages())))
    decided = [step(whole.slice(start, 7)) for start in range(0, len(given), 7)]
    expected, books = single_machine(given)
    assert [table.num_rows for table in decided] == [7] * 6 + [6]
    kept = pa.concat_tables([RayStages.kept(table) for table in decided])
    assert kept.schema == whole.schema
    assert kept["text"].to_pylist() == [d.text for d in expected]
    assert kept["n"].to_pylist() == [d.metadata["n"] for d in expected]
    assert step.books(Tables(decided)).plain() == books.plain()


def test_a_dropped_row_says_by_whom_and_why_and_hides_what_pii_would() -> None:
    rows = [{"text": "Mail ann@roots.io!"}, {"text": None}, {"text": "the and of " * 6}]
    decided = RayStages(stages())(pa.Table.from_pylist(rows))
    assert decided.drop_columns(["books"]).to_pylist() == [
        {
            "text": "Mail <EMAIL>!",
            "dropped_by": "GopherQuality",
            "drop_reason": "gopher_short_doc",
            "drop_detail": "2 < 10",
        },
        {"text": "", "dropped_by": "Read", "drop_reason": "empty", "drop_detail": ""},
        decided.slice(2, 1).drop_columns(["books"]).to_pylist()[0],
    ]
    assert decided["books"].to_pylist()[1:] == [None, None]


def test_a_batch_without_rows_has_the_same_columns() -> None:
    table = table_of(documents())
    step = RayStages(stages())
    none = step(table.slice(0, 0))
    assert none.schema == step(table).schema
    assert none.num_rows == 0
    assert step.books(Tables([none])).documents_in == 0


def test_a_batch_of_nothing_but_nulls_is_one_of_empty_texts() -> None:
    table = pa.table({"n": [1, 2], "text": [None, None]})
    assert pa.types.is_null(table.schema.field("text").type)
    decided = RayStages(stages())(table)
    assert decided.schema.field("text").type == pa.string()
    assert decided["text"].to_pylist() == ["", ""]
    assert decided["drop_reason"].to_pylist() == ["empty", "empty"]
    assert decided.column_names[:2] == ["n", "text"]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_texts_of_any_type_stay_of_it(kind: pa.DataType) -> None:
    table = pa.table({"text": pa.array(["a ", "b", "a "], pa.string()).cast(kind)})
    decided = RayStages([Normalise()])(table)
    assert decided.schema.field("text").type == kind
    assert decided["text"].to_pylist() == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([1, 2]), "int64"),
        (pa.array([["a"], ["b"]]), r"list<.*string>"),
        (pa.array([b"a", b"b"]), "binary"),
        (pa.array([{"a": "b"}, None]), r"struct<.*>"),
    ],
)
def test_a_column_of_something_else_is_told_with_its_type(column: pa.Array, kind: str) -> None:
    table = pa.table({"text": column, "body": ["a", "b"]})
    with pytest.raises(DataError, match=rf"column 'text' has the type {kind}, .*Set text_column"):
        RayStages([Normalise()])(table)
    assert RayStages([Normalise()], text_column="body")(table)["body"].to_pylist() == ["a", "b"]
    if kind in ("int64", "binary"):
        cured = table.set_column(0, "text", table["text"].cast("string"))
        assert RayStages([Normalise()])(cured).num_rows == 2


def test_a_row_without_an_id_is_named_by_its_place() -> None:
    table = pa.table({"text": ["a", "b"], "id": pa.array([None, "own"])})
    found = [document.id for document in RayStages([Normalise()])._documents(table)]
    assert found == ["row 0 of a batch", "own"]


def test_books_of_what_lost_rows_are_refused() -> None:
    step = RayStages([Pii()])
    decided = step(table_of(documents()))
    fewer = Tables([decided.slice(0, 5)])
    with pytest.raises(DataError, match="books count 48 documents, and the dataset has 5 rows"):
        step.books(fewer)
    assert step.books(Tables([decided])).documents_in == 48


def test_what_is_no_table_of_texts_is_told() -> None:
    step, table = RayStages([Pii()]), table_of(documents())
    with pytest.raises(ConfigError, match=r"batch is a dict. Call map_batches\(stages, batch_form"):
        step({"text": ["a"]})
    with pytest.raises(DataError, match="no column 'body' among text, id, source, n"):
        RayStages([Pii()], text_column="body")(table)
    with pytest.raises(DataError, match=r"columns dropped_by, .*: they were decided about before"):
        step(step(table))
    assert step(RayStages.kept(step(table))).num_rows == 48 - 6
    with pytest.raises(ConfigError, match="ExactDuplicates needs all documents"):
        RayStages([ExactDuplicates()])


def test_a_missing_package_of_a_stage_is_told(monkeypatch) -> None:
    monkeypatch.setattr("roots.corpus.stages.language.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"roots-lm\[corpus\]"):
        RayStages([Language()])(table_of(documents()))
