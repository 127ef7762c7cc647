"""A build that is killed at any moment goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_parts import Even
from killed_builds import (
    SMALL,
    STAGES,
    N,
    contents,
    killed_at,
    made,
    notes_of,
    put,
    small_batches,  # noqa: F401 - around every test
)

from roots.corpus import Pipeline, journal
from roots.shards import ShardFolder
from roots.tokenizer import Tokenizer


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
from killed_builds import made
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


def test_a_pipeline_by_itself_gives_what_a_build_spools(tmp_path) -> None:
    put(tmp_path)
    corpus = made(tmp_path)
    run = Pipeline(STAGES["passes"]).run(corpus.source, on_reject=lambda _: None)
    n_documents = sum(1 for _ in run)
    manifest = ShardFolder.open(corpus.prepare(progress=False)).manifest
    assert sum(split.documents for split in manifest.splits.values()) == n_documents
    assert manifest.books == run.books.plain()
    assert set(journal.STEPS) == {"documents", "stages", "tokenizer", "tokens"}
