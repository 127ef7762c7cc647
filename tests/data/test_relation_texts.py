"""RelationTexts: two things marked in a text, read by every tokenizer, classified as a whole."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tasks import tagging_config, write_bert, write_wordpiece

from roots.data import RelationTexts, mark_relation
from roots.errors import ConfigError, DataError
from roots.fit import compose


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_wordpiece(tmp_path_factory.mktemp("wordpiece")))


def relation(text: str, head: str, tail: str, label: str) -> dict[str, Any]:
    spans = {
        name: [text.index(part), text.index(part) + len(part)]
        for name, part in (("head", head), ("tail", tail))
    }
    return {"text": text, **spans, "label": label}


ROWS = [
    relation("the cat sat on the mat .", "the cat", "mat", "on"),
    relation("under the tree was a dog", "dog", "tree", "under"),
    relation("the dog ran", "dog", "the", "none"),
]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def data(folder: Path, tokenizer: str, rows: list[dict[str, Any]], **settings: Any) -> Any:
    given = {"train": write(folder / "train.jsonl", rows), "val_fraction": 0.0}
    return RelationTexts(**{**given, "tokenizer": tokenizer, **settings})


def read(found: RelationTexts) -> list[str]:
    """The texts as the network reads them, without what frames them."""
    split = found.split("train")
    return [found.tokenizer.decode(split.input_ids[row][1:-1]) for row in range(len(split))]


# -- marking ---------------------------------------------------------------------------------------


def test_head_and_tail_are_enclosed_in_either_order() -> None:
    text = "Marie Curie was born in Warsaw, it is said"
    assert mark_relation(text, [0, 11], [24, 30]) == (
        "@ Marie Curie @ was born in # Warsaw # , it is said"
    )
    assert mark_relation(text, [24, 30], [0, 11], ["[E1]", "[/E1]", "[E2]", "[/E2]"]) == (
        "[E2] Marie Curie [/E2] was born in [E1] Warsaw [/E1] , it is said"
    )
    assert mark_relation("ab", [0, 1], [1, 2]) == "@ a @ # b #"


@given(st.text(st.characters(exclude_characters="@#"), min_size=2, max_size=30), st.data())
def test_without_the_markers_the_text_is_what_it_was(text: str, draw: st.DataObject) -> None:
    cuts = st.lists(st.integers(0, len(text)), min_size=4, max_size=4)
    a, b, c, d = sorted(draw.draw(cuts))
    if a == b or c == d:
        return
    head, tail = draw.draw(st.permutations([(a, b), (c, d)]))
    marked = mark_relation(text, head, tail)

    def bare(words: str) -> str:
        return "".join(words.split())

    assert bare(marked.replace("@", "").replace("#", "")) == bare(text)
    _, inside, _ = marked.split("@")
    assert inside.strip() == text[slice(*head)].strip()
    assert marked.split("#")[1].strip() == text[slice(*tail)].strip()


def test_the_network_reads_every_marker(tmp_path: Path, tokenizer: str) -> None:
    found = data(tmp_path, tokenizer, ROWS)
    pieces = [text.split() for text in read(found)]
    assert " ".join(pieces[0]) == "@ the cat @ sat on the # mat # ."
    assert [words.count("@") for words in pieces] == [2, 2, 2]
    assert [words.count("#") for words in pieces] == [2, 2, 2]
    assert found.labels.names == ("none", "on", "under")
    assert found.split("train").labels.tolist() == [1, 2, 0]
    assert found.vocabulary.size == found.tokenizer.vocab_size  # no embedding is new


# -- learning --------------------------------------------------------------------------------------


def directed(n: int, seed: int) -> list[dict[str, Any]]:
    """Rows that only the markers tell apart: which of two words comes first."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        words = rng.sample(["the", "cat", "sat", "on", "mat", "it", "in", "to"], 5)
        text, (first, second) = " ".join(words), (words[0], words[-1])
        pair = (first, second) if number % 2 else (second, first)
        rows.append(relation(text, *pair, "before" if number % 2 else "after"))
    return rows


def test_what_only_the_markers_tell_is_learned(tmp_path: Path) -> None:
    bert = write_bert(tmp_path / "bert")
    arguments = {
        "train": write(tmp_path / "train.jsonl", directed(64, 0)),
        "val": write(tmp_path / "val.jsonl", directed(20, 1)),
        "sequences_per_step": 16,
        "seq_len": 32,
    }
    part = {"class_path": "roots.data.RelationTexts", "init_args": arguments}
    settings = {"max_steps": 60, "val_every_steps": 60, "log_every_steps": 60}
    config = tagging_config(bert, tmp_path / "runs", part, module="SequenceClassifier", **settings)
    composed = compose(config, {"model.micro_batch_size": 16})
    composed.fit()
    assert composed.trainer.latest["val/accuracy"] > 0.9
    assert composed.data.spec["init_args"]["markers"] == ["@", "@", "#", "#"]


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head": [3, 3]}, r"jsonl:2: 'head' is \[3, 3\], and the text has 24 characters"),
        ({"tail": [20, 25]}, r"jsonl:2: 'tail' is \[20, 25\], and the text has 24"),
        ({"tail": [5, 6]}, r"'tail' is \[5, 6\].*not blank"),
        ({"head": "dog"}, r"'head' is 'dog', and the text has 24 characters"),
        ({"head": [8, 14]}, r"head \[8, 14\] and tail \[10, 14\] overlap"),
        ({"text": " "}, r"'text' is empty"),
        ({"label": None}, r"'label' is None"),
    ],
)
def test_a_row_without_head_tail_or_relation_is_refused_by_place(
    tmp_path: Path, tokenizer: str, change: dict[str, Any], words: str
) -> None:
    rows = [ROWS[0], {**ROWS[1], **change}, ROWS[2]]
    with pytest.raises(DataError, match=words):
        data(tmp_path, tokenizer, rows).split("train")
    skipping = data(tmp_path, tokenizer, rows, on_bad_row="skip", max_bad_fraction=0.5)
    assert len(skipping.split("train")) == 2
    assert len(data(tmp_path, tokenizer, ROWS).split("train")) == 3


@pytest.mark.parametrize(
    ("markers", "words"),
    [
        (["@", "@", "#"], r"\['@', '@', '#'\] are no four texts"),
        (["@", " ", "#", "#"], "are no four texts"),
        (["@", "#", "#", "@"], "are alike for head and tail"),
    ],
)
def test_markers_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, tokenizer: str, markers: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        data(tmp_path, tokenizer, ROWS, markers=markers)
    assert data(tmp_path, tokenizer, ROWS, markers=["@", "@", "#", "#"]).markers


def test_a_marker_that_the_tokenizer_does_not_know_is_refused(
    tmp_path: Path, tokenizer: str
) -> None:
    markers = ["@", "@", "§", "§"]
    with pytest.raises(ConfigError, match=r"no token for the marker '§'.*data\.markers"):
        data(tmp_path, tokenizer, ROWS, markers=markers).split("train")
    known = data(tmp_path, tokenizer, ROWS, markers=["@", "@", "!", "!"])
    assert "! mat !" in read(known)[0]


@pytest.mark.parametrize("seq_len", range(8, 29, 2))
def test_texts_that_lose_a_marker_to_the_cut_are_counted(
    tmp_path: Path, tokenizer: str, seq_len: int
) -> None:
    found = data(tmp_path, tokenizer, ROWS, seq_len=seq_len)
    split = found.split("train")
    signs = [found.tokenizer.token_id(marker) for marker in found.markers]
    rows = [split.input_ids[row].tolist() for row in range(len(split))]
    lost = [row for row, ids in enumerate(rows) if sum(n in signs for n in ids) < 4]
    expected = [
        f"{len(lost)} texts (the first: {tmp_path}/train.jsonl:{row + 1}) are cut before their"
        f" head or tail ends, at seq_len={seq_len}. Set data.seq_len higher"
        for row in lost[:1]
    ]
    assert found.remarks == expected
    assert split.n_cut >= len(lost)
    assert seq_len > 8 or len(lost) == 3
    assert seq_len < 28 or not lost


def test_texts_with_a_marker_of_their_own_are_counted(tmp_path: Path, tokenizer: str) -> None:
    rows = [*ROWS, relation("it @ the cat sat on the mat", "cat", "mat", "on")]
    found = data(tmp_path, tokenizer, rows)
    found.split("train")
    (remark,) = found.remarks
    assert remark.startswith(f"1 texts (the first: {tmp_path}/train.jsonl:4) hold a marker")
    assert "(@ #)" in remark
    cured = data(tmp_path, tokenizer, rows, markers=["!", "!", "#", "#"])
    cured.split("train")
    assert cured.remarks == []
