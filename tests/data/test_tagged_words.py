"""TaggedWords: which token carries which tag, and books of the words that have none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tasks import DROPPED, tagged, write_conll, write_wordpiece

from roots.batch import IGNORE
from roots.data import TaggedWords
from roots.errors import ConfigError, DataError
from roots.tokenizer import UNREAD

ROWS = [
    {"words": ["the", "dog", "ran"], "tags": ["B-animal", "I-animal", "O"]},
    {"words": ["cat", "on", "mat"], "tags": ["B-animal", "O", "B-place"]},
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_wordpiece(tmp_path_factory.mktemp("wordpiece")))


def data(folder: Path, tokenizer: str, rows: list[dict[str, Any]], **settings: Any) -> TaggedWords:
    given = {"train": str(write_conll(folder / "train.conll", rows)), "val_fraction": 0.0}
    return TaggedWords(**{**given, "tokenizer": tokenizer, **settings})


def labels_of(split: Any) -> list[list[int]]:
    return [split.labels[row].tolist() for row in range(len(split))]


def test_o_is_the_first_tag_and_the_others_are_sorted(tmp_path: Path, tokenizer: str) -> None:
    found = data(tmp_path, tokenizer, ROWS)
    assert found.labels.names == ("O", "B-animal", "B-place", "I-animal")
    every = data(tmp_path, tokenizer, ROWS, label_tokens="all")
    assert every.labels.names == ("O", "B-animal", "B-place", "I-animal", "I-place")


def test_the_first_token_of_a_word_has_its_tag(tmp_path: Path, tokenizer: str) -> None:
    split = data(tmp_path, tokenizer, ROWS).split("train")
    _ = IGNORE  # [CLS] the d ##o ##g r ##a ##n [SEP]
    assert labels_of(split) == [[_, 1, 3, _, _, 0, _, _, _], [_, 1, 0, 2, _]]
    assert split.labels.lengths.tolist() == split.lengths.tolist()


def test_all_tokens_of_a_word_have_its_tag_and_an_entity_begins_once(
    tmp_path: Path, tokenizer: str
) -> None:
    split = data(tmp_path, tokenizer, ROWS, label_tokens="all").split("train")
    _ = IGNORE
    assert labels_of(split)[0] == [_, 1, 3, 3, 3, 0, 0, 0, _]


def test_a_word_alone_in_its_entity_goes_on_as_inside(tmp_path: Path, tokenizer: str) -> None:
    rows = [{"words": ["dog", "ran", "she", "it"], "tags": ["S-x", "B-x", "E-x", "O"]}]
    found = data(tmp_path, tokenizer, rows, label_tokens="all")
    names = found.labels.names
    words = [names[n] if n >= 0 else "-" for n in labels_of(found.split("train"))[0]]
    assert " ".join(words) == "- S-x I-x I-x B-x I-x I-x E-x E-x E-x O -"


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_the_kinds_of_files_give_the_same_rows(tmp_path: Path, tokenizer: str, ending: str) -> None:
    rows = tagged(30, 3)
    path = tmp_path / f"rows.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import pyarrow
        import pyarrow.parquet

        renamed = [{"tokens": row["words"], "ner_tags": row["tags"]} for row in rows]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(renamed), path)
    columns = {"words": "tokens", "tags": "ner_tags"} if ending == "parquet" else {}
    ours = data(tmp_path, tokenizer, rows, train=str(path), columns=columns)
    expected = data(tmp_path, tokenizer, rows)
    assert ours.split("train").digest == expected.split("train").digest
    assert ours.labels == expected.labels


@pytest.mark.parametrize("n_columns", [2, 4])
def test_of_a_file_with_tags_the_words_alone_are_asked_about(
    tmp_path: Path, tokenizer: str, n_columns: int
) -> None:
    """Also where its tags are of no training row: they are not looked at."""
    alone, tagged_file = tmp_path / "alone.conll", tmp_path / "val.conll"
    sentences = [row["words"] for row in ROWS]
    alone.write_text("\n".join("".join(f"{word}\n" for word in words) for words in sentences))
    more = "\tX" * (n_columns - 2) + "\tB-of-no-class\n"
    lines = ("".join(f"{word}{more}" for word in words) for words in sentences)
    tagged_file.write_text("\n".join(lines))
    asked = {}
    for path in (alone, tagged_file):
        found = data(tmp_path, tokenizer, ROWS)
        found.predict_from = str(path)
        asked[path] = found.split("predict")
    assert len(asked[alone]) == 2
    assert asked[tagged_file].digest == asked[alone].digest
    assert [each.words for each in asked[tagged_file].about] == sentences


def test_tags_by_number_take_the_names_that_are_given(tmp_path: Path, tokenizer: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"words": ["the", "cat"], "tags": [1, 2]}) + "\n")
    names = ["O", "B-animal", "I-animal"]
    found = data(tmp_path, tokenizer, ROWS, train=str(path), labels=names)
    assert found.split("train").about[0].tags == [1, 2]
    assert found.labels.names == tuple(names)
    assert found.spec["init_args"]["labels"] == names


# -- words without a token -------------------------------------------------------------------------


def test_words_that_the_tokenizer_drops_are_counted(tmp_path: Path, tokenizer: str) -> None:
    rows = [*ROWS, {"words": [DROPPED, "cat", DROPPED], "tags": ["O", "B-animal", "I-animal"]}]
    found = data(tmp_path, tokenizer, rows)
    split = found.split("train")
    assert split.about[2].places == [UNREAD, 1, UNREAD]
    assert split.about[2].tags == [0, 1, 3]
    assert found.remarks == [
        f"2 words of 1 sentence (the first: {tmp_path}/train.conll:9) give no token and count as"
        " O: the tokenizer drops their characters"
    ]


def test_words_behind_seq_len_are_counted_and_the_length_that_reads_them_is_told(
    tmp_path: Path, tokenizer: str
) -> None:
    rows = [{"words": ["of"] * 30, "tags": ["O"] * 29 + ["B-place"]}, *ROWS]
    found = data(tmp_path, tokenizer, rows, seq_len=12)
    split = found.split("train")
    assert int(split.lengths.max()) == 12
    assert (len(split.about[0].words), split.about[0].places.count(UNREAD)) == (30, 30 - 5)
    (remark,) = found.remarks
    assert remark.startswith(f"25 words of 1 sentence (the first: {tmp_path}/train.conll:1) lie")
    cure = int(re.search(r"Set data\.seq_len to (\d+)", remark)[1])
    assert cure == 62
    assert data(tmp_path, tokenizer, rows, seq_len=cure).split("train").n_cut == 0
    assert data(tmp_path, tokenizer, rows, seq_len=cure - 1).split("train").n_cut == 1
    assert "1 of them cut to 12 tokens" in found.describe()


# -- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("label_tokens", ["first", "all"])
def test_balanced_weights_are_scikit_learns_over_the_labelled_tokens(
    tmp_path: Path, tokenizer: str, label_tokens: str
) -> None:
    from sklearn.utils.class_weight import compute_class_weight

    found = data(tmp_path, tokenizer, tagged(40, 1), label_tokens=label_tokens)
    labels = found.split("train").labels.values
    labels = labels[labels != IGNORE]
    expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
    weights = found.balanced_weights()
    assert [weights[tag] for tag in np.unique(labels)] == pytest.approx(expected.tolist())
    assert np.mean([weights[tag] for tag in labels]) == pytest.approx(1)


# -- mistakes --------------------------------------------------------------------------------------


def test_a_tag_that_training_lacks_is_refused_by_place_and_nearest(
    tmp_path: Path, tokenizer: str
) -> None:
    rows = [{"words": ["it", "ran"], "tags": ["O", "B-animals"]}]
    val = str(write_conll(tmp_path / "val.conll", rows))
    with pytest.raises(DataError, match=r"val\.conll:1: item 2 of 'tags' \(for 'ran'\).*B-animal'"):
        data(tmp_path, tokenizer, ROWS, val=val).split("val")
    rows[0]["tags"][1] = "B-animal"
    write_conll(tmp_path / "val.conll", rows)
    assert len(data(tmp_path, tokenizer, ROWS, val=val).split("val")) == 1


def test_fewer_tags_than_words_are_refused_by_place_or_skipped(
    tmp_path: Path, tokenizer: str
) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [*ROWS, {"words": ["a", "b"], "tags": ["O"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    with pytest.raises(DataError, match=r"rows\.jsonl:3: 2 words and 1 tags.*on_bad_row to skip"):
        data(tmp_path, tokenizer, ROWS, train=str(path)).split("train")
    skipping = data(
        tmp_path, tokenizer, ROWS, train=str(path), on_bad_row="skip", max_bad_fraction=0.5
    )
    assert len(skipping.split("train")) == 2
    assert "1 of 3 rows were left out" in skipping.remarks[0]


def test_given_tags_without_o_are_refused(tmp_path: Path, tokenizer: str) -> None:
    names = ["B-animal", "I-animal", "B-place"]
    with pytest.raises(ConfigError, match=r"data\.labels has no 'O'.*B-animal, I-animal, B-place"):
        data(tmp_path, tokenizer, ROWS, labels=names)
    assert data(tmp_path, tokenizer, ROWS, labels=["O", *names]).split("train").about


def test_a_given_type_that_no_training_row_has_is_refused(tmp_path: Path, tokenizer: str) -> None:
    names = ["O", "B-animal", "I-animal", "B-place", "I-place"]  # I-place is in no row: learnable
    assert data(tmp_path, tokenizer, ROWS, labels=names).labels.names == tuple(names)
    with pytest.raises(DataError, match=r"missing in the training split: B-person \(1 of the 6"):
        data(tmp_path, tokenizer, ROWS, labels=[*names, "B-person"]).split("train")


def test_a_wrong_choice_of_tokens_is_refused(tmp_path: Path, tokenizer: str) -> None:
    with pytest.raises(ConfigError, match="label_tokens='last' is neither first nor all"):
        data(tmp_path, tokenizer, ROWS, label_tokens="last")
