"""Pipeline: the books balance over every part; any number of workers gives the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_parts import Copies, Even, Failing, Short
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus import Books, Corpus, Normalise, Pipeline
from roots.corpus import staging as staging_module
from roots.errors import ConfigError, DataError
from roots.records import KEEP, Document, Edit
from roots.sources import Source

TEXTS = st.lists(st.tuples(st.text(max_size=12), st.sampled_from(["", "a", "b"])), max_size=40)


PARTS = st.lists(st.sampled_from([Even, Copies, Normalise]), max_size=5)


def documents(*texts: str, source: str = "") -> list[Document]:
    return [Document(text, str(i), source=source) for i, text in enumerate(texts)]


class Listed(Source):
    """Documents from a list."""

    def __init__(self, *, texts: list[str]) -> None:
        self.texts = texts

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document]:
        yield from documents(*self.texts)


@settings(deadline=None, max_examples=60)
@given(TEXTS, PARTS)
def test_the_books_balance_over_every_part_and_source(texts, kinds) -> None:
    given_documents = [Document(t, str(i), source=s) for i, (t, s) in enumerate(texts)]
    run = Pipeline([kind() for kind in kinds]).run(given_documents)
    kept = list(run)
    books = run.books
    assert books.documents_in == len(texts)
    assert books.documents_kept == len(kept)
    assert len(texts) == len(kept) + books.dropped.total()
    for source in (None, *books.sources):
        for part in range(len(books.names)):
            row = books.of(part, source)
            assert row.documents_in == row.documents_kept + row.dropped.total()
            if part:
                before = books.of(part - 1, source)
                assert row.documents_in == before.documents_kept
                assert row.characters_in == before.characters_kept
    assert Books.from_plain(json.loads(json.dumps(books.plain()))).plain() == books.plain()
    assert books.of(len(kinds)).characters_kept == sum(len(each.text) for each in kept)


@settings(deadline=None, max_examples=30)
@given(TEXTS, PARTS)
def test_what_goes_on_is_what_the_parts_say_one_after_another(texts, kinds) -> None:
    given_documents = [Document(t, str(i)) for i, (t, _) in enumerate(texts)]
    expected = [each for each in given_documents if each.text and not each.text.isspace()]
    for kind in kinds:
        part, after = kind(), []
        if isinstance(part, Copies):
            expected = [
                each
                for i, each in enumerate(expected)
                if each.text not in {other.text for other in expected[:i]}
            ]
            continue
        for each in expected:
            verdict = part(each)
            if isinstance(verdict, Edit) and verdict.document.text.strip():
                after.append(verdict.document)
            elif verdict == KEEP:
                after.append(each)
        expected = after
    assert list(Pipeline([kind() for kind in kinds]).run(given_documents)) == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stage_that_fails_is_named_with_its_document(workers) -> None:
    run = Pipeline([Failing()]).run(documents("good", "a bad one"), workers=workers)
    with pytest.raises(DataError, match=r"\.Failing failed on document 1, .*'a bad one': KeyE"):
        list(run)
    assert len(list(Pipeline([Failing()]).run(documents("good", "mended"), workers=workers))) == 2


def test_a_pass_that_loses_a_document_is_refused() -> None:
    with pytest.raises(DataError, match=r"corpus_parts\.Short gave fewer verdicts"):
        list(Pipeline([Short()]).run(documents("a", "b")))


def test_a_stage_of_the_script_itself_runs_in_this_process_only(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from roots.corpus import Pipeline, Stage
            from roots.errors import ConfigError
            from roots.records import Document, Drop, KEEP
            from roots.sources import StandardLibrary

            class Long(Stage):
                def __call__(self, document):
                    return KEEP if len(document.text) < 9 else Drop("long")

            pipeline = Pipeline([Long()])
            given = [Document("short", "1"), Document("much too long", "2")]
            print([each.id for each in pipeline.run(given, workers=0)])
            print(pipeline.run(StandardLibrary(), workers=0).workers)
            try:
                pipeline.run(given, workers=2)
            except ConfigError as error:
                print(error)
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-P", str(script)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    kept, workers, words = done.stdout.splitlines()
    assert (kept, workers) == ("['1']", "1")
    assert words.startswith("workers=2: __main__.Long is written in the script")


def test_what_cannot_be_sent_to_a_worker_is_told() -> None:
    part = Even(words=lambda: None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"RunStages cannot be sent .*lambda.* workers to 1"):
        list(Pipeline([part]).run(documents("a"), workers=2))


def test_a_document_that_cannot_be_sent_to_a_worker_is_told_and_the_cure_works() -> None:
    given = [Document("even", "first", {"lock": threading.Lock()})]
    with pytest.raises(DataError, match=r"from first on .* pickle '_thread\.lock'.* plain values"):
        list(Pipeline([Even()]).run(given, workers=2))
    plain = [Document("even", "first", {"lock": "none"})]
    assert len(list(Pipeline([Even()]).run(plain, workers=2))) == 1


def test_examples_are_the_first_of_each_reason_without_what_is_taken_out() -> None:
    class Hiding(Even):
        def redact(self, text: str) -> str:
            return text.replace("7", "_")

    texts = [f"{i:07}" for i in range(9)] + ["even"] + [""] * 5
    run = Pipeline([Hiding()]).run(documents(*texts))
    list(run)
    n = staging_module.EXAMPLES_PER_REASON
    odd = [each for each in run.examples if each.reason == "odd"]
    assert [each.id for each in odd] == ["0", "1", "2"] == [str(i) for i in range(n)]
    assert odd[0].detail == "_ characters"
    assert len([each for each in run.examples if each.reason == "empty"]) == n
    again = Pipeline([Hiding()]).run(documents("7771777"))
    list(again)
    assert again.examples[0].text == "___1___"


def test_the_stages_are_listed_once_and_not_for_every_document() -> None:
    pipeline = Pipeline([Normalise(), Copies(), Even()])
    assert [type(stage) for stage in pipeline.stages] == [Normalise, Even]
    assert pipeline.stages is pipeline.stages


def test_a_limit_reads_no_further() -> None:
    def endless() -> Iterator[Document]:
        yield from documents(*["ab", "abc", "abcd"])
        raise AssertionError("read on")

    run = Pipeline([Even()]).run(endless(), limit=3)
    assert [each.text for each in run] == ["a", "abc"]


def test_a_run_can_be_repeated_and_its_books_begin_anew() -> None:
    run = Pipeline([Even()]).run(documents("ab", "abc"))
    first, books = list(run), run.books.plain()
    assert list(run) == first
    assert run.books.plain() == books
    assert len(run.examples) == 1


def test_a_text_that_becomes_blank_is_dropped_as_empty() -> None:
    run = Pipeline([Normalise(), Even()]).run(documents("\x00\x01", "ab"))
    assert [each.text for each in run] == ["a"]
    assert run.books.of(1).dropped == {"empty": 1}
    assert run.books.of(2).documents_in == 1


def test_what_is_no_part_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'x' is neither a Stage nor a Pass"):
        Pipeline(["x"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="neither a Stage"):
        Corpus(source=Listed(texts=["a"]), out="x", stages=[str])  # type: ignore[list-item]
