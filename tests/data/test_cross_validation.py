"""The folds of labelled rows: each row is validated on once, groups and classes kept."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from quizzes import quiz_files
from tiny_tasks import classes, tagged, write_conll, write_jsonl, write_tokenizer

from roots.data import LabelledTexts, Questions, TaggedWords
from roots.errors import ConfigError

FOLDS = 4
EACH = range(1, FOLDS + 1)


@pytest.fixture
def train(tmp_path: Path) -> str:
    return str(write_jsonl(tmp_path / "train.jsonl", classes(31, seed=5)))


def texts(train: str, folder: Path, **settings: Any) -> LabelledTexts:
    tokenizer = str(write_tokenizer(folder / "words"))
    return LabelledTexts(train=train, tokenizer=tokenizer, **settings)


def test_each_row_is_validated_on_once_and_each_class_with_its_share(
    train: str, tmp_path: Path
) -> None:
    each = [texts(train, tmp_path, fold=fold, folds=FOLDS) for fold in EACH]
    validated = [where for data in each for where in data.split("val").where]
    assert len(validated) == len(set(validated)) == 31
    for data in each:
        mine, others = data.split("train").where, data.split("val").where
        assert not {*mine} & {*others}
        assert {*mine} | {*others} == {*validated}
    counts = [Counter(data.split("val").labels.tolist()) for data in each]
    for label in range(3):
        shares = [count[label] for count in counts]
        assert max(shares) - min(shares) <= 1
    assert "(fold 2 of 4 of the same file)" in each[1].describe()
    assert len({data.fingerprint for data in each}) == FOLDS
    assert len({data.validated_on for data in each}) == FOLDS


def test_a_fold_is_kept_in_the_plain_form_and_is_the_same_again(train: str, tmp_path: Path) -> None:
    data = texts(train, tmp_path, fold=3, folds=FOLDS)
    said = data.spec["init_args"]
    assert (said["fold"], said["folds"]) == (3, FOLDS)
    again = LabelledTexts(**said)
    assert again.fingerprint == data.fingerprint
    assert again.validated_on == data.validated_on


def test_an_article_is_in_one_fold_and_so_are_its_questions_for_the_threshold(
    tmp_path: Path,
) -> None:
    folder = quiz_files(tmp_path)
    articles = json.loads((folder / "train.json").read_text())["data"]
    title_of = {
        p["context"]: article["title"] for article in articles for p in article["paragraphs"]
    }
    seen: list[str] = []
    for fold in (1, 2):
        data = Questions(
            train=str(folder / "train.json"),
            tokenizer=str(folder / "tokenizer"),
            seq_len=32,
            stride=8,
            max_question_tokens=8,
            threshold_fraction=0.3,
            fold=fold,
            folds=2,
        )
        parts = [
            {title_of[q.context] for q in data.split(name).questions}
            for name in ("train", "threshold", "val")
        ]
        assert sum(map(len, parts)) == len(set.union(*parts)) == len(articles)
        seen += parts[2]
    assert sorted(seen) == sorted(title_of.values())[::2]


def test_sentences_are_divided_too(tmp_path: Path) -> None:
    file = str(write_conll(tmp_path / "train.conll", tagged(20, seed=1)))
    tokenizer = str(write_tokenizer(tmp_path / "words"))
    parts = [TaggedWords(train=file, tokenizer=tokenizer, fold=fold, folds=FOLDS) for fold in EACH]
    assert sum(len(data.split("val")) for data in parts) == 20
    assert {len(data.split("train")) + len(data.split("val")) for data in parts} == {20}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fold": 2}, "fold=2 of folds=0 is no part of a cross-validation. Set data.folds to 2"),
        ({"folds": 4}, "fold=0 of folds=4 is no part"),
        ({"folds": 4, "fold": 5}, "fold=5 of folds=4 is no part"),
        ({"folds": 1, "fold": 1}, "fold=1 of folds=1 is no part"),
        ({"folds": 4, "fold": 1, "val": "val.jsonl"}, "data.val names validation rows, and"),
    ],
)
def test_what_is_no_cross_validation(
    train: str, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        texts(train, tmp_path, **settings)


def test_more_folds_than_rows_of_a_class_are_refused_by_the_name_of_the_class(
    train: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"12 folds need .* of the class '(cat|dog|none)'"):
        texts(train, tmp_path, fold=1, folds=12).split("train")
