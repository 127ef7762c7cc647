"""LabelledTexts: a label has one number in every split, and texts of two splits are compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import write_jsonl, write_tokenizer, write_wordpiece
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)

from roots.batch import IGNORE
from roots.data import LabelledTexts, RelationTexts, TaggedWords
from roots.data.cards import split_card
from roots.data.ragged import Ragged
from roots.data.splits import Split
from roots.errors import ConfigError, DataError
from roots.networks.task import SpanTrainable, TaskTrainable
from roots.objectives import Classes, Spans
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


@pytest.mark.parametrize("given", [{}, {"labels": ["cat", "dog"]}])
@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1, 0], [0, 1], [0, 0]], r"rows\.jsonl:3: 'label': the label 0 stands twice"),
        ([[1, 0], [0, 1], [1, 0]], r"names all 2 labels \((0, 1|1, 0)\).*vectors of 0 and 1"),
    ],
)
def test_vectors_of_0_and_1_are_refused_and_the_cure_works(
    tmp_path: Path, tokenizer: str, given: dict[str, Any], vectors: list[list[int]], words: str
) -> None:
    settings = {"kind": "many", "val_fraction": 0.0, "tokenizer": tokenizer, **given}
    rows = written(tmp_path, "rows", labelled(*vectors))
    with pytest.raises(DataError, match=words):
        LabelledTexts(train=rows, **settings).split("train")
    names = [[name for name, is_ in zip(("cat", "dog"), v, strict=True) if is_] for v in vectors]
    rows = written(tmp_path, "rows", labelled(*names))
    assert LabelledTexts(train=rows, **settings).split("train").labels.tolist() == vectors


@pytest.mark.parametrize("lists", [[[0], [1], [0, 1]], [[0, 1], [1, 0], [1]], [[0, 1], [1, 2]]])
def test_lists_of_numbers_of_classes_stay_what_they_are(
    tmp_path: Path, tokenizer: str, lists: list[list[int]]
) -> None:
    rows = written(tmp_path, "rows", labelled(*lists))
    found = LabelledTexts(train=rows, val_fraction=0.0, kind="many", tokenizer=tokenizer)
    n = 1 + max(map(max, lists))
    expected = [[float(number in numbers) for number in range(n)] for numbers in lists]
    assert found.split("train").labels.tolist() == expected


# -- one text or two -------------------------------------------------------------------------------


def pairs_of(*labels: str, column: str = "text_pair") -> list[dict[str, Any]]:
    return [{**row, column: f"a dog {n}"} for n, row in enumerate(labelled(*labels))]


def test_rows_of_pairs_need_their_second_text_in_every_split_and_the_cures_work(
    tmp_path: Path, tokenizer: str
) -> None:
    train = written(tmp_path, "train", pairs_of(*"ab"))
    other = written(tmp_path, "other", pairs_of(*"ab", column="hypothesis"))
    lacks = r"other\.jsonl:1 has no column 'text_pair'.*columns are: text, label, hypothesis\. "
    found = LabelledTexts(train=train, val=other, tokenizer=tokenizer)
    with pytest.raises(DataError, match=lacks + "Set columns to {text_pair: NAME}"):
        found.split("val")
    found = LabelledTexts(train=train, test=other, val_fraction=0.0, tokenizer=tokenizer)
    with pytest.raises(DataError, match=lacks):
        found.split("test")
    found.predict_from = other
    with pytest.raises(DataError, match=lacks + "Name it as the training rows do"):
        found.split("predict")
    assert found.line() == ""  # so that no closing word of a run speaks of a text file
    found.predict_from = str(tmp_path / "asked.txt")
    Path(found.predict_from).write_text("the cat\n")
    with pytest.raises(ConfigError, match=r"a line of text is no row .* reads text, text_pair\."):
        found.split("predict")
    found.predict_from = written(tmp_path, "asked", [{"text": "the", "text_pair": "cat"}])
    assert len(found.split("predict")) == 1
    columns = {"text_pair": "hypothesis"}
    renamed = LabelledTexts(train=other, val=other, columns=columns, tokenizer=tokenizer)
    pairs = LabelledTexts(train=train, val=train, tokenizer=tokenizer)
    for name in ("train", "val"):
        assert renamed.split(name).digest == pairs.split(name).digest


def test_a_second_text_that_no_training_row_has_is_refused(tmp_path: Path, tokenizer: str) -> None:
    train = written(tmp_path, "train", pairs_of(*"ab", column="hypothesis"))
    val = written(tmp_path, "val", pairs_of(*"ab"))
    with pytest.raises(
        DataError,
        match=r"val\.jsonl:1: .*in the column 'text_pair', and training rows have one text each\."
        r" Name theirs in data\.columns",
    ):
        LabelledTexts(train=train, val=val, tokenizer=tokenizer).split("val")
    found = LabelledTexts(train=train, val=train, tokenizer=tokenizer)
    assert len(found.split("val")) == 2
    assert not found.pairs
    assert found.line() == "text"


def test_training_rows_are_pairs_all_or_none(tmp_path: Path, tokenizer: str) -> None:
    rows = [*pairs_of(*"ab"), *labelled("a")]
    train = written(tmp_path, "train", rows)
    with pytest.raises(
        DataError,
        match=r"train\.jsonl:3 has no column 'text_pair' .*train\.jsonl:1 has one \(2 of 3",
    ):
        LabelledTexts(train=train, val_fraction=0.0, tokenizer=tokenizer).split("train")
    found = LabelledTexts(
        train=written(tmp_path, "train", rows[:2]), val_fraction=0.0, tokenizer=tokenizer
    )
    assert found.pairs


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
    pairs = [{"text": "the cat", "text_pair": "a dog", "label": label} for label in "ab"]
    train = written(tmp_path, "train", pairs)
    found = LabelledTexts(train=train, val=train, tokenizer=tokenizer)
    assert found.quoted("val", 1, 0) == {"where": f"{train}:2", "text": "the cat ⏐ a dog"}
    train = written(tmp_path, "train", labelled(*"ab"))
    found = LabelledTexts(train=train, val=train, tokenizer=tokenizer)
    assert found.quoted("val", 1, 0) == {"where": f"{train}:2", "text": "the cat sat 1"}


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


# -- filler and pairs ------------------------------------------------------------------------------


def test_filler_is_a_row_that_is_there_without_its_label(tmp_path: Path, tokenizer: str) -> None:
    rows = [
        {"text": text, "label": label} for text, label in (("the cat sat", "a"), ("the mat", "b"))
    ]
    data = LabelledTexts(
        train=written(tmp_path, "rows", rows),
        val=written(tmp_path, "val", rows),
        tokenizer=tokenizer,
    )
    split = data.split("val")
    batch = split.batch(np.array([0, 1, -1]), 0)
    assert batch.labels.tolist() == [0, 1, IGNORE]
    assert batch.samples.tolist() == [0, 1, -1]
    assert torch.equal(batch.inputs["input_ids"][2], batch.inputs["input_ids"][1])
    assert batch.lengths[2] == batch.lengths[1]
    alone = split.batch(np.array([-1, -1]), 0)
    assert alone.inputs["input_ids"].tolist() == [split.input_ids[1].tolist()] * 2
    assert alone.labels.tolist() == [IGNORE, IGNORE]


@pytest.mark.parametrize("kind", ["bart", "t5", "mbart", "longformer"])
def test_heads_that_look_for_a_token_in_each_row_find_it_in_filler(kind: str) -> None:
    halves = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    halves |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    sizes = {
        "t5": {"d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2},
        "longformer": {
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "attention_window": 4,
            "sep_token_id": 2,
        },
    }.get(kind, halves)
    ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    config = AutoConfig.for_model(kind, vocab_size=12, d_model=8, **sizes, **ids)
    answers = kind == "longformer"
    auto = AutoModelForQuestionAnswering if answers else AutoModelForSequenceClassification
    rows = Ragged.of(
        [[0, 5, 2, 2, 6, 7, 2], [0, 5, 2, 2, 6, 2]] if answers else [[5, 6, 2], [5, 2]]
    )
    labels = np.array([[4, 5], [4, 4]] if answers else [0, 1])
    split = Split(input_ids=rows, labels=labels, where=["a", "b"], pad_id=1)
    network = auto.from_config(config).eval()
    trainable = SpanTrainable(network, Spans()) if answers else TaskTrainable(network, Classes())
    with torch.no_grad():
        whole = trainable(split.batch(np.array([0, 1]), 0))
        filled = trainable(split.batch(np.array([0, 1, -1, -1]), 0))
    assert int(filled.n_labels) == int(whole.n_labels)
    torch.testing.assert_close(filled.loss, whole.loss)
    with torch.no_grad():
        assert float(trainable(split.batch(np.array([-1, -1]), 0)).loss) == 0


def test_pairs_that_nothing_parts_are_remarked(tmp_path: Path, tokenizer: str) -> None:
    rows = [{"text": "a cat", "text_pair": "sat", "label": n % 2} for n in range(4)]
    for row, n in zip(rows, range(4), strict=True):
        row["text"] += f" {n}"
    bare = write_tokenizer(tmp_path / "bare")
    definition = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps({**definition, "post_processor": None}))
    for folder, remarked in ((str(bare), True), (tokenizer, False)):
        file = written(tmp_path, "rows", rows)
        data = LabelledTexts(train=file, val=file, tokenizer=folder)
        data.split("train")
        data.split("val")
        said = [remark for remark in data.remarks if "puts nothing between the two" in remark]
        assert len(said) == remarked


def test_a_card_tells_how_many_rows_have_labels(tmp_path: Path, tokenizer: str) -> None:
    rows = written(tmp_path, "rows", labelled(["a", "b"], ["a"], []))
    many = LabelledTexts(train=rows, val=rows, kind="many", labels=["a", "b"], tokenizer=tokenizer)
    card = split_card(many.split("train"), ["a", "b"])
    assert (card["labels"], card["labelled"]) == ({"a": 2, "b": 1}, 3)
    one = written(tmp_path, "one", labelled("a", "b", "b"))
    single = LabelledTexts(train=one, val=one, tokenizer=tokenizer).split("train")
    assert split_card(single, ["a", "b"])["labelled"] == 3
