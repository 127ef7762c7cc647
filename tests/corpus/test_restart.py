"""A build that is killed at any moment goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import corpus_parts
import pytest
from corpus_parts import Copies, Even

from roots.corpus import (
    BytePairs,
    Corpus,
    ExactDuplicates,
    NearDuplicates,
    Normalise,
    Pipeline,
    RepeatedLines,
    journal,
)
from roots.corpus.journal import Journal
from roots.records import Document
from roots.shards import ShardFolder
from roots.sources import Jsonl, Source
from roots.tokenizer import Tokenizer

N = 240


def put(folder: Path) -> None:
    """Writes documents with copies, near copies, blank ones and a record that is no JSON."""
    lines = []
    for i in range(N):
        words = " ".join(f"word{(i // 3) * 7 + k}" for k in range(30))
        text = words if i % 3 else f"{words} and cafe\u0301 {i // 6} <|endoftext|>"
        lines.append(json.dumps({"text": text if i % 20 else " ", "url": f"https://a{i % 3}.org"}))
    lines.insert(100, '{"text": "cut')
    (folder / "text.jsonl").write_text("\n".join(lines) + "\n")


STAGES = {
    "none": [],
    "stages": [Normalise(), Even()],
    "passes": [Normalise(), ExactDuplicates(), NearDuplicates(), RepeatedLines(), Even(), Copies()],
}


def made(folder: Path, out: str = "out", *, stages: str = "passes", **settings) -> Corpus:
    source = Jsonl(paths=str(folder / "text.jsonl"), on_bad_record="skip", max_bad_fraction=0.1)
    given = {
        "source": source,
        "stages": STAGES[stages],
        "tokenizer": BytePairs(vocab_size=300),
        "val_fraction": 0.2,
        "workers": 1,
    }
    return Corpus(**{**given, "out": str(folder / out), **settings})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch) -> None:
    """Makes a build of many batches, each of which is noted."""
    for setting, value in SMALL.items():
        monkeypatch.setattr(setting, value)


SMALL = {
    "roots.corpus.pipeline.BATCH_CHARACTERS": 8000,
    "roots.corpus.encoding._BATCH_CHARACTERS": 300,
    "roots.corpus.spooling._BATCHES_PER_NOTE": 1,
    "roots.corpus.encoding._BATCHES_PER_NOTE": 2,
}


class Killed(BaseException):
    """What ends a build in these tests, where no signal does."""


def killed_at(monkeypatch, corpus: Corpus, note: int, *, after: bool) -> list[str]:
    """Runs a build until a note; gives the steps that were noted."""
    noted, write = [], Journal.note

    def note_and_die(self, step, *args, **named) -> None:
        if len(noted) == note and not after:
            raise Killed
        write(self, step, *args, **named)
        noted.append(step)
        if len(noted) == note + 1 and after:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "note", note_and_die)
        try:
            corpus.prepare(progress=False)
        except Killed:
            return noted
    return [*noted, "end"]


def notes_of(monkeypatch, corpus: Corpus) -> list[str]:
    return killed_at(monkeypatch, corpus, 10**9, after=False)[:-1]


@pytest.mark.parametrize("stages", list(STAGES))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_note_it_ends_with_the_same_bytes(
    tmp_path, monkeypatch, stages, after, every
) -> None:
    put(tmp_path)
    steps = notes_of(monkeypatch, made(tmp_path, "quiet", stages=stages))
    quiet = contents(tmp_path / "quiet")
    assert set(steps) >= ({"tokenizer", "tokens"} | ({"documents"} if stages != "none" else set()))
    for number in {*range(after, len(steps), every), len(steps) - 1}:
        corpus = made(tmp_path, stages=stages)
        assert killed_at(monkeypatch, corpus, number, after=after)[-1:] != ["end"]
        corpus.prepare(progress=False)
        assert contents(tmp_path / "out") == quiet, (number, steps[number])
        assert not (tmp_path / "out.building").exists()
        shutil.rmtree(tmp_path / "out")


def test_killed_again_and_again_it_comes_to_its_end(tmp_path, monkeypatch) -> None:
    put(tmp_path)
    made(tmp_path, "quiet").prepare(progress=False)
    noted: list[str] = []
    for turn in range(60):
        corpus = made(tmp_path, workers=1 + (turn == 3))
        new = killed_at(monkeypatch, corpus, 0, after=True)
        noted += new
        if new[-1] == "end":
            break
    assert noted[:-1] == notes_of(monkeypatch, made(tmp_path, "other"))
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")


def test_finished_work_is_not_done_again(tmp_path, monkeypatch, capsys) -> None:
    put(tmp_path)
    steps = notes_of(monkeypatch, made(tmp_path, "quiet"))
    killed_at(monkeypatch, made(tmp_path), len(steps) - 2, after=True)
    with monkeypatch.context() as patched:
        for place, why in (
            ("roots.sources.Jsonl.records", "the source was read"),
            ("roots.corpus.pipeline.RunStages.run", "a stage ran"),
            ("corpus_parts.Copies.decide", "a pass ran"),
            ("roots.corpus.BytePairs.make", "the tokenizer was trained"),
        ):
            patched.setattr(place, lambda *_, why=why: pytest.fail(f"{why} again"))
        encoded = []
        whole = Tokenizer.encode_batch
        patched.setattr(
            Tokenizer, "encode_batch", lambda self, t: encoded.extend(t) or whole(self, t)
        )
        made(tmp_path).prepare()
    said = capsys.readouterr().err
    assert "going on with what was done: documents, tokenizer, tokens (" in said
    documents = ShardFolder.open(tmp_path / "quiet").manifest.splits.values()
    assert 0 < len(encoded) < sum(split.documents for split in documents) / 2
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")


def test_batches_that_stages_decided_are_not_decided_again(tmp_path, monkeypatch) -> None:
    put(tmp_path)
    corpus = made(tmp_path, stages="stages")
    assert killed_at(monkeypatch, corpus, 1, after=True) == ["stages", "stages"]
    seen: list[str] = []
    decide = Even.__call__
    monkeypatch.setattr(Even, "__call__", lambda s, d: seen.append(d.text) or decide(s, d))
    corpus.prepare(progress=False)
    books = ShardFolder.open(tmp_path / "out").manifest.books
    everything = books[2]["sources"]["Jsonl"]["documents_in"]
    assert 0 < len(seen) < everything == N - N // 20


KILL = f"""
import os, signal, sys
from pathlib import Path
import importlib
for setting, value in {SMALL!r}.items():
    module, _, name = setting.rpartition(".")
    setattr(importlib.import_module(module), name, value)
from roots.corpus.journal import Journal
import roots.corpus.noted_writer as noted_writer
at, number = sys.argv[2], int(sys.argv[3])
kind = {{"note": Journal, "_finish": noted_writer.NotedWriter}}[at]
whole, count = getattr(kind, at), [0]
def killed(*args, **named):
    whole(*args, **named)
    count[0] += 1
    if count[0] == number:
        os.kill(os.getpid(), signal.SIGKILL)
setattr(kind, at, killed)
from test_restart import made
made(Path(sys.argv[1]), workers=int(sys.argv[4])).prepare(progress=False)
"""


@pytest.mark.parametrize(
    ("at", "number", "workers"),
    [("note", 2, 2), ("note", 9, 1), ("_finish", 1, 1), ("_finish", 2, 1)],
)
def test_a_process_that_is_killed_leaves_what_the_next_goes_on_with(
    tmp_path, capsys, at, number, workers
) -> None:
    put(tmp_path)
    made(tmp_path, "quiet").prepare(progress=False)
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here.parents[1], here, here.parent)))
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path), at, str(number), str(workers)],
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "out.building").is_dir()
    made(tmp_path).prepare()
    said = capsys.readouterr().err
    assert ("tokens (" if at == "_finish" else "going on with what was done: ") in said
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "quiet", "text.jsonl"]


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path, monkeypatch, capsys) -> None:
    put(tmp_path)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("roots.corpus.building.encode_documents", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path).prepare()
    said = capsys.readouterr().err
    assert f"{tmp_path}/out.building: kept, " in said
    assert "The same command goes on from there" in said
    made(tmp_path).prepare()
    assert "going on with what was done: documents, tokenizer (" in capsys.readouterr().err


def late(tmp_path: Path, monkeypatch) -> Path:
    """Kills a build while it encodes; gives what it left."""
    put(tmp_path)
    steps = notes_of(monkeypatch, made(tmp_path, "quiet"))
    killed_at(monkeypatch, made(tmp_path), len(steps) - 2, after=True)
    return tmp_path / "out.building"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("work/train.bin.part", "documents, tokenizer ("),
        ("work/val.lengths.part", "documents, tokenizer ("),
        ("shards/tokenizer/tokenizer.json", "documents ("),
        ("work/documents-4.spool", ""),
        ("shards/rejects.jsonl", ""),
        ("shards/near_duplicates.jsonl", ""),
        ("work/journal.json", ""),
    ],
)
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_leftover_is_noticed_and_done_anew(
    tmp_path, monkeypatch, capsys, name, kept, damage
) -> None:
    left = late(tmp_path, monkeypatch)
    raw = bytearray((left / name).read_bytes())
    raw[len(raw) // 2] ^= 4
    if damage == "gone":
        (left / name).unlink()
    else:
        (left / name).write_bytes(raw if damage == "flipped" else raw[: len(raw) // 2])
    capsys.readouterr()
    made(tmp_path).prepare()
    said = capsys.readouterr().err
    assert Path(name).name in said or (name, damage) == ("work/journal.json", "gone")
    assert (f"going on with what was done: {kept}" in said) == bool(kept)
    assert ("going on with what was done" in said) == bool(kept)
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")


def test_what_no_note_tells_of_is_cut_off_or_removed(tmp_path, monkeypatch) -> None:
    left = late(tmp_path, monkeypatch)
    with (left / "work" / "train.bin.part").open("ab") as file:
        file.write(b"more than was noted")
    (left / "shards" / "near_duplicates-2.jsonl").write_text("{}\n")
    made(tmp_path).prepare(progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("recipe", "recipe.seed: 1 → 2"),
        ("files", r"text.jsonl: [\d,]+ bytes, changed at \d+ → "),
        ("roots", "code.roots: "),
        ("stage", "code.corpus_parts: "),
        ("version", "versions.numpy: "),
    ],
)
def test_another_build_begins_anew_and_says_why(
    tmp_path, monkeypatch, capsys, change, words
) -> None:
    late(tmp_path, monkeypatch)
    settings = {}
    if change == "recipe":
        settings["seed"] = 2
    elif change == "files":
        with (tmp_path / "text.jsonl").open("a") as file:
            file.write('{"text": "one more"}\n')
    elif change == "roots":
        monkeypatch.setattr("roots.corpus.identity._sum_of_roots", lambda: "other")
    elif change == "stage":
        other = tmp_path / "corpus_parts.py"
        other.write_text(Path(corpus_parts.__file__).read_text() + "\n# changed\n")
        monkeypatch.setattr(corpus_parts, "__file__", str(other))
    else:
        monkeypatch.setattr("roots.corpus.identity._version", lambda name: f"0 of {name}")
    capsys.readouterr()
    made(tmp_path, **settings).prepare()
    said = capsys.readouterr().err
    assert "beginning anew, because what was left is of another build: " in said
    assert re.search(words, said)
    assert "going on" not in said
    made(tmp_path, "new", **settings).prepare(progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_code_of_a_script_is_not_gone_on_with(tmp_path, monkeypatch) -> None:
    put(tmp_path)
    monkeypatch.setattr(Even, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Even", Even, raising=False)
    corpus = made(tmp_path, stages="stages")
    with monkeypatch.context() as patched:
        patched.setattr("roots.corpus.building.encode_documents", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            corpus.prepare(progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.jsonl"]


class Listed(Source):
    """Documents of a list, which may change behind everybody's back."""

    texts: tuple[str, ...] = ()

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document]:
        for i, text in enumerate(Listed.texts):
            yield Document(text, str(i))


def test_a_source_without_files_may_have_changed_so_all_is_done_anew(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Listed, "texts", tuple(f"text number {i} of these" for i in range(400)))
    corpus = made(tmp_path, source=Listed(), stages="none")
    steps = killed_at(monkeypatch, corpus, 3, after=True)
    assert steps == ["tokenizer", "tokens", "tokens", "tokens"]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Listed, "texts", ("another text altogether", *Listed.texts[1:]))
    corpus.prepare(progress=False)
    made(tmp_path, "new", source=Listed(), stages="none").prepare(progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_a_pipeline_by_itself_gives_what_a_build_spools(tmp_path) -> None:
    put(tmp_path)
    corpus = made(tmp_path)
    run = Pipeline(STAGES["passes"]).run(corpus.source, on_reject=lambda _: None)
    n_documents = sum(1 for _ in run)
    manifest = ShardFolder.open(corpus.prepare(progress=False)).manifest
    assert sum(split.documents for split in manifest.splits.values()) == n_documents
    assert manifest.books == run.books.plain()
    assert set(journal.STEPS) == {"documents", "stages", "tokenizer", "tokens"}
