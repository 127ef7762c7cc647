"""A corpus with stages: its bytes, its books, and what a build that ends early leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_parts import Copies, Even

from roots.corpus import Books, BytePairs, Corpus, GopherQuality, Normalise, Stage
from roots.errors import DataError
from roots.records import plain, rebuild
from roots.shards import Manifest, ShardFolder
from roots.sources import Several, Text


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "inputs.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


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
from test_staged_corpus import corpus
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
