"""Corpus: the same text gives the same bytes; the books balance; what changed is built anew."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from text_corpus import Listed, N, contents, documents_of, line, made, put_text

from roots.corpus import BytePairs, Existing, adopt, pool, split_of
from roots.corpus.splitting import fraction_of
from roots.errors import DataError
from roots.records import plain
from roots.shards import ShardFolder, ShardWriter
from roots.sources import Jsonl
from roots.tokenizer import Tokenizer


def test_every_document_comes_back_in_order_from_one_split(tmp_path) -> None:
    put_text(tmp_path)
    corpus = made(tmp_path, test_fraction=0.1)
    folder = ShardFolder.open(corpus.prepare(progress=False))
    folder.verify()
    assert folder.splits == ("test", "train", "val")
    for split in folder.splits:
        expected = [line(i) for i in range(N) if corpus.divide(line(i).encode()) == split]
        assert documents_of(folder, split) == expected
        assert len(expected) > 10


def test_the_books_balance(tmp_path) -> None:
    put_text(tmp_path, extra="caf\ufffd\n")
    manifest = ShardFolder.open(made(tmp_path).prepare(progress=False)).manifest
    kept = sum(split.documents for split in manifest.splits.values())
    assert manifest.documents_dropped == {"empty": 2}
    assert manifest.documents_read == kept + 2 == N + 3
    texts = [line(i) for i in range(N)] + ["caf\ufffd"]
    assert sum(split.bytes for split in manifest.splits.values()) == sum(
        len(text.encode()) for text in texts
    )


def test_bytes_of_the_manifest_are_those_of_the_tokens(tmp_path) -> None:
    put_text(tmp_path)
    folder = ShardFolder.open(made(tmp_path).prepare(progress=False))
    lengths = Tokenizer.load(folder.tokenizer_path).byte_lengths()
    for name, split in folder.manifest.splits.items():
        assert lengths[np.asarray(folder.shard(name).tokens)].sum() == split.bytes


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bytes(tmp_path, monkeypatch, workers) -> None:
    monkeypatch.setattr("roots.corpus.encoding._BATCH_CHARACTERS", 700)
    put_text(tmp_path)
    one = contents(made(tmp_path, "one").prepare(progress=False))
    assert contents(made(tmp_path, "many", workers=workers).prepare(progress=False)) == one
    assert set(one) == {
        "manifest.json",
        "kept.json",
        "README.md",
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        *(f"{split}.{kind}" for split in ("train", "val") for kind in ("bin", "idx")),
    }


def test_a_script_without_a_main_guard_can_use_several_workers(tmp_path) -> None:
    put_text(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            print("started")
            from roots.corpus import BytePairs, Corpus
            from roots.sources import Text
            Corpus(
                source=Text(paths={str(tmp_path / "text.txt")!r}, document="line"),
                out="out", tokenizer=BytePairs(vocab_size=300), val_fraction=0.1, workers=2,
            ).prepare(progress=False)
            """
        )
    )
    (tmp_path / "tokenizers.py").write_text("raise SystemExit('a file of the user was imported')")
    done = subprocess.run(
        [sys.executable, "-P", str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")
    assert contents(tmp_path / "out") == contents(made(tmp_path, "one").prepare(progress=False))


def test_a_worker_that_is_killed_is_told_and_fewer_go_on(tmp_path, monkeypatch, capsys) -> None:
    put_text(tmp_path)
    started = []
    start = pool._start

    def start_and_kill(message: bytes) -> subprocess.Popen[bytes]:
        started.append(start(message))
        started[-1].send_signal(signal.SIGKILL)
        return started[-1]

    monkeypatch.setattr(pool, "_start", start_and_kill)
    with pytest.raises(DataError, match=r"ended with exit code -9 .*fewer workers"):
        made(tmp_path, workers=2).prepare(progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.building", "text.txt"]
    assert all(process.returncode is not None for process in started)
    made(tmp_path, workers=1).prepare()
    assert "going on with what was done: tokenizer" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "text.txt"]


def test_the_tokenizer_never_sees_what_is_not_train(tmp_path) -> None:
    texts = [f"word {i} common" for i in range(200)]
    settings = {"val_fraction": 0.3, "test_fraction": 0.2}
    probe = made(tmp_path, **settings)
    outside = [text for text in texts if probe.divide(text.encode()) != "train"]
    seen: list[str] = []

    class Spy(BytePairs):
        def make(self, texts):
            seen.extend(texts)
            return super().make(seen)

    made(tmp_path, source=Listed(texts=texts), tokenizer=Spy(), **settings).prepare(progress=False)
    assert len(outside) > 50
    assert seen == [text for text in texts if text not in set(outside)]


def test_a_large_text_trains_the_tokenizer_on_a_sample(tmp_path) -> None:
    texts = [f"document number {i:04}" for i in range(1000)]
    seen: list[list[str]] = []

    class Spy(BytePairs):
        def make(self, texts):
            seen.append(list(texts))
            return super().make(seen[-1])

    for out in ("a", "b"):
        made(
            tmp_path,
            out,
            source=Listed(texts=texts),
            tokenizer=Spy(vocab_size=300),
            max_training_bytes=5_000,
        ).prepare(progress=False)
    assert seen[0] == seen[1]
    assert 3_500 < sum(map(len, seen[0])) < 6_500


def test_of_few_large_documents_of_which_none_is_drawn_one_trains_the_tokenizer(tmp_path) -> None:
    texts = [f"{n}th tale: " + "the roots hold the ground. " * 100 for n in range(4)]
    seen: list[str] = []

    class Spy(BytePairs):
        def make(self, texts):
            seen[:] = texts
            return super().make(seen)

    settings = {"source": Listed(texts=texts), "val_fraction": 0.0, "max_training_bytes": 500}
    corpus = made(tmp_path, tokenizer=Spy(vocab_size=300), **settings)
    draws = {fraction_of(text.encode(), 1, "training"): text for text in texts}
    assert min(draws) > 500 / sum(map(len, texts))
    folder = ShardFolder.open(corpus.prepare(progress=False))
    assert "".join(seen) == draws[min(draws)][:500]
    assert folder.manifest.vocab_size > 257


def test_an_existing_tokenizer_is_taken_as_it_is(tmp_path) -> None:
    put_text(tmp_path)
    first = made(tmp_path).prepare(progress=False)
    taken = Existing(path=str(first / "tokenizer"))
    second = made(tmp_path, "second", tokenizer=taken)
    assert second.planned_vocab_size() == 300
    second.prepare(progress=False)
    assert (first / "train.bin").read_bytes() == (tmp_path / "second" / "train.bin").read_bytes()


def test_the_tokenizer_of_a_runs_network_is_taken_by_the_runs_directory(tmp_path) -> None:
    put_text(tmp_path)
    first = made(tmp_path).prepare(progress=False)
    run = tmp_path / "runs" / "0001"
    checkpoint = run / "checkpoints" / "step-000003"
    shutil.copytree(first / "tokenizer", checkpoint)
    (checkpoint / "checkpoint.json").write_text('{"step": 3, "metrics": {}, "files": {}}')
    (run / "config.yaml").write_text("name: tiny\n")
    with pytest.raises(DataError, match=r"holds no tokenizer\.json"):
        Existing(path=str(run.parent)).planned_vocab_size()
    second = made(tmp_path, "second", tokenizer=Existing(path=str(run)))
    second.prepare(progress=False)
    assert (first / "train.bin").read_bytes() == (tmp_path / "second" / "train.bin").read_bytes()


def test_a_small_text_gives_fewer_tokens_than_asked_and_the_manifest_says_so(tmp_path) -> None:
    corpus = made(tmp_path, source=Listed(texts=["aaa"] * 3 + ["b"] * 50), val_fraction=0)
    corpus.tokenizer = BytePairs(vocab_size=5000)
    assert corpus.planned_vocab_size() == 5000
    folder = ShardFolder.open(corpus.prepare(progress=False))
    assert folder.manifest.vocab_size == 259
    assert corpus.planned_vocab_size() == 259


def test_a_giant_document_is_cut_and_encoded_as_the_whole(tmp_path, monkeypatch) -> None:
    text = "".join(f"def f{i}():\n    return {i}\n\n\n" for i in range(2000))
    listed = Listed(texts=[text, "second"])
    whole = contents(made(tmp_path, "a", source=listed, val_fraction=0).prepare(progress=False))
    monkeypatch.setattr("roots.corpus.cutting.parts.__defaults__", (50,))
    cut = contents(made(tmp_path, "b", source=listed, val_fraction=0).prepare(progress=False))
    assert cut["train.bin"] == whole["train.bin"]
    assert cut["train.idx"] == whole["train.idx"]


def test_a_gzipped_source_works_end_to_end(tmp_path) -> None:
    lines = "\n".join(json.dumps({"text": line(i)}) for i in range(100))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    corpus = made(tmp_path, source=Jsonl(paths=str(tmp_path / "a.jsonl.gz")))
    assert ShardFolder.open(corpus.prepare(progress=False)).manifest.documents_read == 100


def test_a_corpus_can_be_written_as_plain_values(tmp_path) -> None:
    written = plain(made(tmp_path))
    assert written["class_path"] == "roots.corpus.Corpus"
    assert written["init_args"]["source"]["class_path"] == "roots.sources.Text"
    assert json.loads(json.dumps(written)) == written


def test_the_import_brings_no_torch() -> None:
    code = "import sys, roots.corpus.command; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_encoding_by_tiktoken_changes_no_byte_and_is_told(tmp_path, monkeypatch, capsys) -> None:
    put_text(tmp_path)
    slow = contents(made(tmp_path, "slow").prepare(progress=False))
    monkeypatch.setattr("roots.corpus.building.WORTH_A_PROOF", 0)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "tiktoken", None)
        made(tmp_path, "without").prepare()
        assert "not by tiktoken: tiktoken is not installed" in capsys.readouterr().err
    pytest.importorskip("tiktoken", reason="tiktoken is not installed: pip install -e '.[corpus]'")
    made(tmp_path, "fast").prepare()
    assert "by tiktoken; equal ids proved, and found on 64 texts" in capsys.readouterr().err
    assert contents(tmp_path / "fast") == contents(tmp_path / "without") == slow


def test_megatron_files_are_adopted_and_checked(tmp_path) -> None:
    tokenizer = BytePairs(vocab_size=300).make(["hello world"] * 9)
    tokenizer.save(tmp_path / "tok")
    ids = [*tokenizer.encode("hello world"), tokenizer.eos_id]

    def write(last: int) -> None:
        with ShardWriter(tmp_path / "shards" / "train", vocab_size=1000) as writer:
            writer.add(ids)
            writer.add([*ids[:-1], last])

    for last, words in ((999, "holds the id 999, but the tokenizer has"), (5, "document 1 ends")):
        write(last)
        with pytest.raises(DataError, match=words):
            adopt(folder=str(tmp_path / "shards"), tokenizer=str(tmp_path / "tok"))
    write(tokenizer.eos_id)
    folder = adopt(folder=str(tmp_path / "shards"), tokenizer=str(tmp_path / "tok"))
    folder.verify()
    assert folder.manifest.splits["train"].bytes == 2 * len("hello world")
    with pytest.raises(DataError, match=r"must hold train\.bin and no manifest"):
        adopt(folder=str(tmp_path / "shards"), tokenizer=str(tmp_path / "tok"))


def test_copies_of_a_text_fall_into_the_same_split() -> None:
    shares = {"val_fraction": 0.3, "test_fraction": 0.2, "seed": 1}
    raws = [str(i).encode() for i in range(20_000)]
    splits = [split_of(raw, **shares) for raw in raws]
    assert splits == [split_of(raw, **shares) for raw in raws]
    assert abs(splits.count("val") / 20_000 - 0.3) < 0.015
    assert abs(splits.count("test") / 20_000 - 0.2) < 0.015
    other = [split_of(raw, **{**shares, "seed": 2}) for raw in raws]
    assert sum(a == b for a, b in zip(splits, other, strict=True)) < 9_000
    pinned = [split_of(raw, **shares) for raw in (b"", b"a", b"tree", "根".encode())]
    assert pinned == ["train", "train", "test", "val"]


def test_more_validation_moves_nothing_into_or_out_of_test() -> None:
    raws = [str(i).encode() for i in range(1000)]
    small = [split_of(raw, val_fraction=0.1, test_fraction=0.2, seed=1) for raw in raws]
    large = [split_of(raw, val_fraction=0.4, test_fraction=0.2, seed=1) for raw in raws]
    assert [s == "test" for s in small] == [s == "test" for s in large]
    assert all(b == "val" for a, b in zip(small, large, strict=True) if a == "val")
