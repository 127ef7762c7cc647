"""The public sets that the experiments use, read whole: every row is there and good."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from roots.sources.rows import (
    CheckedRows,
    Columns,
    HasText,
    LabelSet,
    OneLabel,
    ParallelText,
    TaggedWords,
    check_answers,
    hold_out,
    rows_from,
)

DATA = Path(os.environ.get("ROOTS_DATA", "/nowhere"))


def needs(folder: str) -> pytest.MarkDecorator:
    there = (DATA / folder).is_dir()
    return pytest.mark.skipif(not there, reason=f"needs {folder}/ in the folder ROOTS_DATA")


def classified(column: str, labels: LabelSet | None = None) -> list:
    take = Columns({"text": column}, fields=["text", "label"])
    return [take, HasText("text"), OneLabel("label", labels)]


@needs("sst2")
@pytest.mark.parametrize(("split", "n_rows"), [("train", 60_614), ("dev", 6_735)])
def test_sst2(split, n_rows) -> None:
    rows = CheckedRows(
        rows_from("${ROOTS_DATA}/sst2/" + split + ".tsv"), checks=classified("sentence")
    )
    start = time.process_time()
    found = list(rows)
    seconds = time.process_time() - start
    assert (len(found), rows.books.read, rows.books.n_rejected) == (n_rows, n_rows, 0)
    assert LabelSet.of((row.fields["label"] for row in found), "label").names == ("0", "1")
    assert seconds < 3, "about 0.35 s for 60,614 rows on an idle core"


@needs("thucnews")
def test_thucnews_by_the_numbers_of_its_list_of_classes() -> None:
    labels = LabelSet.given("${ROOTS_DATA}/thucnews/classes.txt")
    counts = {}
    for name in ("train", "train_more"):
        source = rows_from("${ROOTS_DATA}/thucnews/" + name + ".tsv")
        found = list(CheckedRows(source, checks=classified("sentence", labels)))
        labels.check_all_seen({row.fields["label"] for row in found}, "label")
        counts[name] = len(found)
    assert counts == {"train": 10_000, "train_more": 33_462}
    assert labels.names[0] == "finance"
    assert len(labels) == 10


@needs("agnews")
def test_agnews_has_its_labels_as_names() -> None:
    found = list(
        CheckedRows(rows_from("${ROOTS_DATA}/agnews/train.tsv"), checks=classified("text"))
    )
    assert len(found) == 10_001
    labels = LabelSet.of((row.fields["label"] for row in found), "label")
    assert labels.names == ("Business", "Sci/Tech", "Sports", "World")


@needs("wnut17")
@pytest.mark.parametrize(("split", "n_sentences"), [("train", 3_394), ("dev", 1_009)])
def test_wnut17(split, n_sentences) -> None:
    source = rows_from("${ROOTS_DATA}/wnut17/" + split + ".conll")
    found = list(CheckedRows(source, checks=[TaggedWords()]))
    assert len(found) == n_sentences
    labels = LabelSet.of((tag for row in found for tag in row.fields["tags"]), "tags")
    assert len(labels) == 13, "B- and I- of six types, and O"


@needs("squad2")
@pytest.mark.parametrize(("split", "n_questions"), [("train", 3_714), ("dev", 458)])
def test_squad2(split, n_questions) -> None:
    source = rows_from("${ROOTS_DATA}/squad2/" + split + ".json")
    found = list(CheckedRows(source, checks=[check_answers]))
    assert len(found) == n_questions
    titles = [row.fields["title"] for row in found]
    train, held = (
        hold_out(len(found), fraction=0.1, seed=1, by=titles) if split == "train" else ([], [])
    )
    assert not {titles[i] for i in train} & {titles[i] for i in held}


@needs("multi30k")
@pytest.mark.parametrize(("split", "n_pairs"), [("train", 29_000), ("val", 1_014)])
def test_multi30k(split, n_pairs) -> None:
    stem = "${ROOTS_DATA}/multi30k/" + split
    source = ParallelText(source=f"{stem}.en", target=f"{stem}.de")
    assert len(list(CheckedRows(source, checks=[HasText("source"), HasText("target")]))) == n_pairs
