"""What a build that was killed left is used only where it is whole and of the same build."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import corpus_parts
import pytest
from corpus_parts import Even
from killed_builds import (
    contents,
    killed_at,
    made,
    notes_of,
    put,
    small_batches,  # noqa: F401 - around every test
)

from roots.records import Document
from roots.sources import Source


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
