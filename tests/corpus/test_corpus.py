"""Corpus: the same text gives the same bytes; the books balance; what changed is built anew."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from roots.corpus import BytePairs, Corpus, Existing, adopt, pool, split_of
from roots.corpus import corpus as corpus_module
from roots.errors import ConfigError, DataError
from roots.records import Document, plain
from roots.shards import ShardFolder, ShardWriter
from roots.sources import Jsonl, Source, Text
from roots.tokenizer import Tokenizer

N = 300


def line(i: int) -> str:
    return f"Line {i}: {'tree ' * (i % 7)}根 {i * i} <|endoftext|> done."


def put_text(folder: Path, n: int = N, extra: str = "") -> Path:
    path = folder / "text.txt"
    path.write_text("\n".join(line(i) for i in range(n)) + f"\n\n   \n{extra}")
    return path


def made(tmp_path: Path, out: str = "out", **settings) -> Corpus:
    given = {
        "source": Text(paths=str(tmp_path / "text.txt"), document="line"),
        "tokenizer": BytePairs(vocab_size=300),
        "val_fraction": 0.1,
        "workers": 1,
    }
    return Corpus(**{**given, "out": str(tmp_path / out), **settings})


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "inputs.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def documents_of(folder: ShardFolder, split: str) -> list[str]:
    shard, tokenizer = folder.shard(split), Tokenizer.load(folder.tokenizer_path)
    ids = [shard.document(i).tolist() for i in range(shard.n_documents)]
    assert all(each[-1] == tokenizer.eos_id and tokenizer.eos_id not in each[:-1] for each in ids)
    return [tokenizer.decode(each[:-1]) for each in ids]


class Listed(Source):
    """Documents from a list."""

    def __init__(self, *, texts: list[str], marker: str = "") -> None:
        self.texts, self.marker, self.passes = texts, marker, 0

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document]:
        self.passes += 1
        for i, text in enumerate(self.texts):
            yield Document(text=text, id=str(i))


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


def test_a_second_prepare_reads_nothing(tmp_path, monkeypatch) -> None:
    put_text(tmp_path)
    corpus = made(tmp_path)
    corpus.prepare(progress=False)
    before = (tmp_path / "out" / "manifest.json").stat()
    monkeypatch.setattr(Text, "documents", lambda self: pytest.fail("the text was read again"))
    assert made(tmp_path, workers=3).is_ready()
    assert corpus.prepare(progress=False) == tmp_path / "out"
    assert (tmp_path / "out" / "manifest.json").stat() == before


def test_a_touched_file_is_read_once_and_nothing_is_built(tmp_path, monkeypatch) -> None:
    path = put_text(tmp_path)
    corpus = made(tmp_path)
    corpus.prepare(progress=False)
    os.utime(path, (1, 1))
    monkeypatch.setattr(Corpus, "build", lambda *_: pytest.fail("built again"))
    corpus.prepare(progress=False)
    monkeypatch.setattr(Text, "documents", lambda self: pytest.fail("the text was read again"))
    corpus.prepare(progress=False)


def test_a_changed_text_is_built_anew_and_told(tmp_path, capsys) -> None:
    path = put_text(tmp_path)
    corpus = made(tmp_path)
    before = contents(corpus.prepare(progress=False))
    put_text(tmp_path, n=N + 1)
    assert not corpus.is_ready()
    corpus.prepare()
    assert f"building, because its input changed: {path}, in all 1 files" in capsys.readouterr().err
    assert contents(tmp_path / "out") != before
    assert ShardFolder.open(tmp_path / "out").manifest.documents_read == N + 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "text.txt"]


def test_a_changed_setting_is_built_anew_and_told(tmp_path, capsys) -> None:
    put_text(tmp_path)
    made(tmp_path).prepare(progress=False)
    made(tmp_path, tokenizer=BytePairs(vocab_size=310)).prepare()
    said = capsys.readouterr().err
    assert "its recipe changed: tokenizer.vocab_size: 300 → 310" in said


def test_a_damaged_folder_is_built_anew(tmp_path, capsys) -> None:
    put_text(tmp_path)
    before = contents(made(tmp_path).prepare(progress=False))
    (tmp_path / "out" / "train.bin").write_bytes(b"short")
    made(tmp_path).prepare()
    assert "train.bin is cut short: 5 bytes found" in capsys.readouterr().err
    assert contents(tmp_path / "out") == before


def test_a_folder_serves_on_after_its_text_is_gone(tmp_path) -> None:
    path = put_text(tmp_path)
    made(tmp_path).prepare(progress=False)
    path.unlink()
    assert made(tmp_path).is_ready()
    with pytest.raises(DataError, match=r"text\.txt does not exist"):
        made(tmp_path, "elsewhere").prepare(progress=False)


def test_a_source_that_changes_its_mind_is_refused(tmp_path) -> None:
    class Restless(Listed):
        def documents(self):
            yield from super().documents()
            yield Document(text=f"pass {self.passes}", id="x")

    with pytest.raises(DataError, match=r"gave other documents.*\(101, then 101"):
        made(tmp_path, source=Restless(texts=[line(i) for i in range(100)])).prepare(progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_tokenizer_is_taken_as_it_is(tmp_path) -> None:
    put_text(tmp_path)
    first = made(tmp_path).prepare(progress=False)
    taken = Existing(path=str(first / "tokenizer"))
    second = made(tmp_path, "second", tokenizer=taken)
    assert second.planned_vocab_size() == 300
    second.prepare(progress=False)
    assert (first / "train.bin").read_bytes() == (tmp_path / "second" / "train.bin").read_bytes()


def test_another_existing_tokenizer_in_the_same_place_makes_the_folder_stale(tmp_path) -> None:
    put_text(tmp_path)
    BytePairs(vocab_size=280).make(["abc abc"] * 9).save(tmp_path / "tok")
    made(tmp_path, tokenizer=Existing(path=str(tmp_path / "tok"))).prepare(progress=False)
    BytePairs(vocab_size=280).make(["xyz xyz"] * 9).save(tmp_path / "tok")
    again = made(tmp_path, tokenizer=Existing(path=str(tmp_path / "tok")))
    assert "tokenizer.fingerprint" in str(again.stale_because())


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


def test_an_empty_split_says_what_would_fill_it_and_the_cure_works(tmp_path) -> None:
    (tmp_path / "text.txt").write_text("one two\n\nthree\n\nfour\n" * 20)
    whole = Text(paths=str(tmp_path / "text.txt"))
    with pytest.raises(
        DataError, match=r"of 1 documents gave none to|the 1 documents fell into"
    ) as e:
        made(tmp_path, source=whole).prepare(progress=False)
    assert "document: blank_line" in str(e.value)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    made(tmp_path, source=whole, val_fraction=0.0).prepare(progress=False)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("val_fraction", {}),
        ("val_fraction", {"test_fraction": 0.3}),
        ("test_fraction", {"val_fraction": 0}),
    ],
)
def test_the_fraction_named_as_a_cure_is_enough_and_the_smallest(tmp_path, name, others) -> None:
    texts = [line(i) for i in range(12)]

    def prepare(fraction: float) -> None:
        settings = {"source": Listed(texts=texts), **others, name: fraction}
        made(tmp_path, **settings).prepare(progress=False)

    with pytest.raises(DataError, match=rf"{name}=0.001 of 12 documents gave none") as caught:
        prepare(0.001)
    enough = float(re.search(rf"set {name} to ([\d.]+) or more", str(caught.value))[1])
    with pytest.raises(DataError, match=rf"to {enough:.2f} or more"):
        prepare(enough - 0.01)
    prepare(enough)


def test_a_source_without_text_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"gave no text: 3 documents read, dropped: 3 empty"):
        made(tmp_path, source=Listed(texts=["", " ", "\n"])).prepare(progress=False)


def test_half_a_surrogate_pair_is_named_by_document(tmp_path) -> None:
    with pytest.raises(DataError, match=r"Document 1: character 2 is half.*\(U\+D800\).*Listed"):
        made(tmp_path, source=Listed(texts=["ok", "xy\ud800"])).prepare(progress=False)


def test_a_folder_of_somebody_else_is_not_touched(tmp_path) -> None:
    put_text(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text('{"name": "somebody else\'s"}')
    with pytest.raises(DataError, match=r"out holds 1 entries \(manifest\.json"):
        made(tmp_path).prepare(progress=False)
    assert "somebody" in (tmp_path / "out" / "manifest.json").read_text()


def test_describe_tells_source_plan_and_state(tmp_path) -> None:
    put_text(tmp_path)
    corpus = made(tmp_path)
    assert "roots.sources.Text: 1 files, 1" in corpus.describe()
    assert f"300 tokens → {tmp_path}/out (to be built: it is not there yet)" in corpus.describe()
    corpus.prepare(progress=False)
    assert corpus.describe().endswith("(is ready)")
    assert "\n" not in corpus.describe()


def test_a_gzipped_source_works_end_to_end(tmp_path) -> None:
    lines = "\n".join(json.dumps({"text": line(i)}) for i in range(100))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    corpus = made(tmp_path, source=Jsonl(paths=str(tmp_path / "a.jsonl.gz")))
    assert ShardFolder.open(corpus.prepare(progress=False)).manifest.documents_read == 100


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "val_fraction=0.6 and test_fraction=0.4"),
        ({"val_fraction": -0.1}, "val_fraction=-0.1"),
        ({"workers": -1}, "workers=-1"),
        ({"max_training_bytes": 0}, "max_training_bytes=0"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, settings, words) -> None:
    with pytest.raises(ConfigError, match=words):
        made(tmp_path, **settings)


def test_a_vocabulary_without_room_for_the_bytes_is_refused_and_the_cure_works() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size=257 .* at least 258"):
        BytePairs(vocab_size=257, extra_tokens=("<mask>",))
    assert BytePairs(vocab_size=258, extra_tokens=("<mask>",)).make(["ab"]).vocab_size == 258


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


def test_the_recipe_version_makes_old_folders_stale(tmp_path, monkeypatch) -> None:
    put_text(tmp_path)
    made(tmp_path).prepare(progress=False)
    monkeypatch.setattr(corpus_module, "RECIPE_VERSION", 99)
    assert str(made(tmp_path).stale_because()).endswith("recipe_version: 1 → 99")


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
