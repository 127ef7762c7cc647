"""What no corpus can be made of is refused, and the cures that are named work."""

from __future__ import annotations

import re

import pytest
from text_corpus import Listed, line, made, put_text

from roots.corpus import BytePairs
from roots.errors import ConfigError, DataError
from roots.records import Document
from roots.sources import Text


def test_a_source_that_changes_its_mind_is_refused(tmp_path) -> None:
    class Restless(Listed):
        def documents(self):
            yield from super().documents()
            yield Document(text=f"pass {self.passes}", id="x")

    with pytest.raises(DataError, match=r"gave other documents.*\(101, then 101"):
        made(tmp_path, source=Restless(texts=[line(i) for i in range(100)])).prepare(progress=False)
    assert list(tmp_path.iterdir()) == []


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


def test_no_fraction_is_a_cure_that_would_leave_none_for_train(tmp_path) -> None:
    source = Listed(texts=["one document"])
    for fraction in ("val_fraction", "test_fraction"):
        settings = {"val_fraction": 0, fraction: 0.001}
        with pytest.raises(DataError, match=f"set {fraction} to 0 for no such split") as caught:
            made(tmp_path, source=source, **settings).prepare(progress=False)
        assert "or more" not in str(caught.value)


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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "val_fraction=0.6 and test_fraction=0.4"),
        ({"val_fraction": -0.1}, "val_fraction=-0.1"),
        ({"val_fraction": float("nan")}, "val_fraction=nan"),
        ({"test_fraction": float("nan")}, "test_fraction=nan"),
        ({"seed": 10**70}, "has more than 64 bits"),
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
