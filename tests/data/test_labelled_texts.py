"""LabelledTexts: a label has one number in every split, and texts of two splits are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import write_jsonl, write_wordpiece

from roots.data import LabelledTexts, RelationTexts, TaggedWords
from roots.errors import DataError
from roots.sources.rows import LabelSet


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_wordpiece(tmp_path_factory.mktemp("wordpiece")))


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    return str(write_jsonl(folder / f"{name}.jsonl", rows))


def labelled(*labels: object) -> list[dict[str, Any]]:
    return [{"text": f"the cat sat {n}", "label": label} for n, label in enumerate(labels)]


# -- labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [list("12345"), ["1", "0"], ["0", "1"], ["-1", "0", "1"]])
@pytest.mark.parametrize("held_out", [False, True])
def test_names_that_are_numerals_stay_names_in_every_split(
    tmp_path: Path, tokenizer: str, names: list[str], held_out: bool
) -> None:
    rows = written(tmp_path, "rows", labelled(*names))
    val = {"val_fraction": 0.0} if held_out else {"val": rows}
    found = LabelledTexts(train=rows, test=rows, labels=names, tokenizer=tokenizer, **val)
    expected = list(range(len(names)))
    splits = ("train", "test") if held_out else ("train", "val", "test")
    assert {name: found.split(name).labels.tolist() for name in splits} == dict.fromkeys(
        splits, expected
    )


def test_several_labels_that_are_numerals_stay_names(tmp_path: Path, tokenizer: str) -> None:
    rows = written(tmp_path, "rows", labelled(["1"], ["3", "2"], []))
    found = LabelledTexts(
        train=rows, val=rows, kind="many", labels=["1", "2", "3"], tokenizer=tokenizer
    )
    for split in map(found.split, ("train", "val")):
        assert split.labels.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]


def test_relations_that_are_numerals_stay_names(tmp_path: Path, tokenizer: str) -> None:
    spans = {"text": "cat on mat", "head": [0, 3], "tail": [7, 10]}
    rows = written(tmp_path, "rows", [{**spans, "label": label} for label in ("1", "2")])
    found = RelationTexts(train=rows, val=rows, labels=["1", "2"], tokenizer=tokenizer)
    for split in map(found.split, ("train", "val")):
        assert split.labels.tolist() == [0, 1]


def test_a_number_still_stands_for_a_name_that_was_given(tmp_path: Path, tokenizer: str) -> None:
    rows = written(tmp_path, "rows", labelled(1, "bad", 0, "good"))
    found = LabelledTexts(train=rows, val=rows, labels=["bad", "good"], tokenizer=tokenizer)
    for split in map(found.split, ("train", "val")):
        assert split.labels.tolist() == [1, 0, 0, 1]


def test_labels_that_were_learned_have_one_number_in_every_split(
    tmp_path: Path, tokenizer: str
) -> None:
    train = written(tmp_path, "train", labelled(3, "1", 2.0))
    found = LabelledTexts(
        train=train, val=written(tmp_path, "val", labelled("2", 3)), tokenizer=tokenizer
    )
    assert found.split("train").labels.tolist() == [2, 0, 1]
    assert found.split("val").labels.tolist() == [1, 2]


def test_a_file_of_labels_that_was_saved_is_read(tmp_path: Path, tokenizer: str) -> None:
    LabelSet(["pos", "neg"]).save(tmp_path / "labels.json")
    rows = written(tmp_path, "rows", labelled("neg", "pos"))
    found = LabelledTexts(
        train=rows, val=rows, labels=str(tmp_path / "labels.json"), tokenizer=tokenizer
    )
    assert found.split("train").labels.tolist() == found.split("val").labels.tolist() == [1, 0]
    LabelSet(["O", "B-a"]).save(tmp_path / "tags.json")
    tagged = written(tmp_path, "tagged", [{"words": ["cat", "on"], "tags": ["B-a", "O"]}])
    words = TaggedWords(
        train=tagged, val=tagged, labels=str(tmp_path / "tags.json"), tokenizer=tokenizer
    )
    assert [words.split(name).about[0].tags for name in ("train", "val")] == [[1, 0], [1, 0]]


# -- texts that two splits share -------------------------------------------------------------------


def test_a_text_with_another_label_is_shared_and_the_half_of_a_pair_is_not(
    tmp_path: Path, tokenizer: str
) -> None:
    train = written(
        tmp_path,
        "train",
        [
            {"text": "the cat", "text_pair": "a dog", "label": "yes"},
            {"text": "the dog", "text_pair": "on mat", "label": "no"},
        ],
    )
    val = written(
        tmp_path,
        "val",
        [
            {"text": "the cat", "text_pair": "a tree", "label": "yes"},
            {"text": "the dog", "text_pair": "on mat", "label": "yes"},
        ],
    )
    found = LabelledTexts(train=train, val=val, tokenizer=tokenizer)
    found.split("train")
    assert found.remarks[0].startswith(
        f"1 of the 2 rows of val (50.0%) have a text that train has as well ({train}:2 = {val}:2)"
    )


def test_test_rows_are_compared_with_the_training_rows(tmp_path: Path, tokenizer: str) -> None:
    rows = labelled(*"abab")
    train = written(tmp_path, "train", rows)
    test = written(tmp_path, "test", [*rows[:1], {"text": "under the tree", "label": "a"}])
    found = LabelledTexts(train=train, test=test, val_fraction=0.0, tokenizer=tokenizer)
    found.split("train")
    assert found.remarks == []
    found.split("test")
    assert [remark[:27] for remark in found.remarks] == ["1 of the 2 rows of test (50"]


def test_rows_are_quoted_by_their_place(tmp_path: Path, tokenizer: str) -> None:
    rows = [{"text": "the cat", "text_pair": "a dog", "label": "a"}, *labelled("b")]
    train = written(tmp_path, "train", rows)
    found = LabelledTexts(train=train, val=train, tokenizer=tokenizer)
    assert [found.quoted("val", sample, 0) for sample in range(2)] == [
        {"where": f"{train}:1", "text": "the cat ⏐ a dog"},
        {"where": f"{train}:2", "text": "the cat sat 0"},
    ]


# -- names that are wrong --------------------------------------------------------------------------


def test_a_column_that_is_named_must_be_there_and_the_cures_work(
    tmp_path: Path, tokenizer: str
) -> None:
    rows = [{"text": "the cat", "hyp": "a dog", "label": label} for label in ("yes", "no")]
    settings = {"train": written(tmp_path, "rows", rows), "val_fraction": 0.0}
    with pytest.raises(
        DataError,
        match=r"No row has the column 'hypp' .* 'text_pair' \(did you mean 'hyp'\?\).*or leave"
        r" text_pair out of columns",
    ):
        LabelledTexts(**settings, tokenizer=tokenizer, columns={"text_pair": "hypp"}).split("train")
    pairs = LabelledTexts(**settings, tokenizer=tokenizer, columns={"text_pair": "hyp"})
    alone = LabelledTexts(**settings, tokenizer=tokenizer)
    assert (pairs.split("train").lengths > alone.split("train").lengths).all()


def test_a_split_that_is_none_is_refused_with_those_that_are(
    tmp_path: Path, tokenizer: str
) -> None:
    found = LabelledTexts(train=written(tmp_path, "rows", labelled(*"ab" * 9)), tokenizer=tokenizer)
    found.split("val")
    with pytest.raises(DataError, match=r"no split 'vall'. Ask for one of train, val, test"):
        found.split("vall")
    assert len(found.split("val"))
