"""Pipeline: the books balance over every part; any number of workers gives the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from corpus_parts import Copies, Even, Failing, Short
from hypothesis import given, settings
from hypothesis import strategies as st

from roots.corpus import Books, BytePairs, Corpus, GopherQuality, Normalise, Pipeline, Stage
from roots.corpus import staging as staging_module
from roots.errors import ConfigError, DataError
from roots.records import KEEP, Document, Edit, plain, rebuild
from roots.shards import Manifest, ShardFolder
from roots.sources import Several, Source, Text

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


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "inputs.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


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


def corpus(tmp_path: Path, out: str, workers: int, **more) -> Corpus:
    lines = "\n".join(f"Line {i} {'tree ' * (i % 9)} \x07 end" for i in range(400))
    (tmp_path / "text.txt").write_text(lines + "\n\n \n")
    stages = [Normalise(), Even(), Copies(), GopherQuality(min_words=3, min_stop_words=0)]
    given = {"stages": stages, "val_fraction": 0.1} | more
    return Corpus(
        source=Text(paths=str(tmp_path / "text.txt"), document="line"),
        out=str(tmp_path / out),
        tokenizer=BytePairs(vocab_size=300),
        workers=workers,
        **given,
    )


def test_any_number_of_workers_gives_the_same_bytes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("roots.corpus.pipeline.BATCH_CHARACTERS", 900)
    one = contents(corpus(tmp_path, "one", 1).prepare(progress=False))
    assert contents(corpus(tmp_path, "many", 3).prepare(progress=False)) == one
    assert "dropped.jsonl" in one
    assert not [name for name in one if "spool" in name]
    manifest = ShardFolder.open(tmp_path / "one").manifest
    kept = sum(split.documents for split in manifest.splits.values())
    assert manifest.documents_read == 402 == kept + sum(manifest.documents_dropped.values())
    assert manifest.documents_dropped["empty"] == 2
    assert {"odd", "empty"} < set(manifest.documents_dropped)
    rows = Books.from_plain(manifest.books)
    assert rows.names == ("Read", "Normalise", "Even", "Copies", "GopherQuality")
    assert rows.sources == ["Text"]
    assert rows.of(2).counted["cut"] == rows.of(2).documents_edited > 50
    assert kept == rows.documents_kept


def test_the_spooled_text_and_not_the_original_is_encoded(tmp_path) -> None:
    from roots.tokenizer import Tokenizer

    folder = ShardFolder.open(corpus(tmp_path, "out", 1, val_fraction=0).prepare(progress=False))
    shard, tokenizer = folder.shard("train"), Tokenizer.load(folder.tokenizer_path)
    texts = [tokenizer.decode(shard.document(i).tolist()[:-1]) for i in range(shard.n_documents)]
    assert all(text.startswith("Line") and text.endswith(" en") for text in texts)
    assert folder.manifest.splits["train"].bytes == sum(len(text) for text in texts)


def test_a_changed_stage_is_told_and_built_anew(tmp_path) -> None:
    made = corpus(tmp_path, "out", 1, stages=[Normalise(), Even(words="not even")])
    made.prepare(progress=False)
    assert made.is_ready()
    other = corpus(tmp_path, "out", 1, stages=[Normalise(form="NFKC"), Even(words="not even")])
    assert str(other.stale_because()) == ("its recipe changed: stages.1.form: NFC → NFKC")
    assert "stages.1.class_path" in str(corpus(tmp_path, "out", 1, stages=[]).stale_because())


def test_a_folder_made_before_there_were_stages_is_not_stale(tmp_path) -> None:
    made = corpus(tmp_path, "out", 1, stages=[])
    path = made.prepare(progress=False) / "manifest.json"
    content = json.loads(path.read_text())
    assert "stages" not in content["recipe"]
    for name in ("books", "records_rejected"):
        del content[name]
    path.write_text(json.dumps(content))
    assert Manifest.read(path.parent).books == ()
    assert made.is_ready()


def test_a_touched_source_is_compared_by_what_it_gave_and_not_by_what_was_kept(tmp_path) -> None:
    made = corpus(tmp_path, "out", 1)
    made.prepare(progress=False)
    os.utime(tmp_path / "text.txt", (1, 1))
    assert made.is_ready()


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


def test_stages_survive_being_written_as_plain_values(tmp_path) -> None:
    written = json.loads(json.dumps(plain(corpus(tmp_path, "out", 1))))
    again = rebuild(written, Corpus)
    assert again.recipe() == corpus(tmp_path, "out", 1).recipe()
    assert isinstance(again.stages[0], Stage)


def test_the_parts_of_a_corpus_have_books_of_their_own(tmp_path) -> None:
    for name, n in (("one", 30), ("two", 50)):
        (tmp_path / f"{name}.txt").write_text("\n".join("x" * (i % 5) for i in range(n)))
    several = Several(
        sources={
            name: Text(paths=str(tmp_path / f"{name}.txt"), document="line")
            for name in ("two", "one")
        }
    )
    assert [path.name for path in several.files()] == ["one.txt", "two.txt"]
    made = Corpus(
        source=several,
        out=str(tmp_path / "out"),
        stages=[Even()],
        tokenizer=BytePairs(vocab_size=300),
        val_fraction=0,
        workers=1,
    )
    books = Books.from_plain(ShardFolder.open(made.prepare(progress=False)).manifest.books)
    assert books.sources == ["one", "two"]
    assert books.of(0, "one").documents_in == 30
    assert books.of(0, "two").documents_in == 50
    assert books.of(1, "one").dropped == {"odd": 12}
    assert "  one" in str(books)
    assert rebuild(json.loads(json.dumps(plain(made))), Corpus).recipe() == made.recipe()


def test_all_dropped_is_told_with_the_reason_that_did_it(tmp_path) -> None:
    made = corpus(tmp_path, "out", 1, stages=[GopherQuality()])
    with pytest.raises(DataError, match=r"stages left no document: 402 .* 400 gopher_short_doc"):
        made.prepare(progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    corpus(tmp_path, "out", 1, stages=[GopherQuality(min_words=1, min_stop_words=0)]).prepare(
        progress=False
    )


@pytest.mark.parametrize("moment", ["take_in", "survey", "encode_documents"])
def test_a_build_that_is_stopped_leaves_the_old_folder(tmp_path, monkeypatch, moment) -> None:
    before = contents(corpus(tmp_path, "out", 1, stages=[Even()]).prepare(progress=False))

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"roots.corpus.building.{moment}", stopped)
        with pytest.raises(KeyboardInterrupt):
            corpus(tmp_path, "out", 1).prepare(progress=False)
    assert contents(tmp_path / "out") == before
    kept = [] if moment == "take_in" else ["out.building"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", *kept, "text.txt"]
    after = contents(corpus(tmp_path, "out", 1).prepare(progress=False))
    assert after == contents(corpus(tmp_path, "new", 1).prepare(progress=False))


KILLED = """
import os, signal, sys
import roots.corpus.building as building
at, whole = sys.argv[1], getattr(building, sys.argv[1])
def killed(*args, **named):
    whole(*args, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(building, at, killed)
from pathlib import Path
from test_pipeline import corpus
corpus(Path(sys.argv[2]), "out", 1).prepare(progress=False)
"""


def test_a_build_that_is_killed_leaves_the_old_folder_and_is_done_by_the_next(tmp_path) -> None:
    before = contents(corpus(tmp_path, "out", 1, stages=[Even()]).prepare(progress=False))
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here.parents[1], here, here.parent)))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "take_in", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == -9
    assert contents(tmp_path / "out") == before
    assert (tmp_path / "out.building").is_dir()
    after = contents(corpus(tmp_path, "out", 1).prepare(progress=False))
    assert after == contents(corpus(tmp_path, "new", 1).prepare(progress=False))
    assert not (tmp_path / "out.building").exists()
