"""Classes that only held-out rows have: whoever trains is told, and weighing them does not fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import classes, tagged, write_jsonl, write_wordpiece

from roots.data import LabelledTexts, RelationTexts, TaggedWords
from roots.data.task_data import TaskData

HALVES = {"folds": 2, "fold": 1}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_wordpiece(tmp_path_factory.mktemp("wordpiece")))


def relations() -> list[dict[str, Any]]:
    """Two relations of each text, of one kind."""
    rows = []
    for number in range(20):
        names = {"text": f"cat {number} dog", "label": ("near", "far")[number % 2]}
        spans: list[Any] = [[0, 3], [len(names["text"]) - 3, len(names["text"])]]
        rows += [{**names, "head": a, "tail": b} for a, b in (spans, spans[::-1])]
    return rows


def copies(**one: Any) -> list[dict[str, Any]]:
    """Texts with copies behind them, which go where the first goes."""
    rows = [{**row, **({"label": [row["label"]]} if one else {})} for row in classes(60, 1)]
    return [each for row in rows for each in (row, dict(row))]


MADE = {
    "relations": (RelationTexts, relations, {}, "rare"),
    "copies": (LabelledTexts, copies, {}, "rare"),
    "folds": (LabelledTexts, copies, HALVES, "rare"),
    "many": (LabelledTexts, lambda: copies(many=True), {"kind": "many"}, ["rare"]),
}


def held_out(found: TaskData) -> list[int]:
    return [int(where.rpartition(":")[2]) - 1 for where in found.split("val").where]


@pytest.mark.parametrize("which", MADE)
def test_a_class_of_rows_that_are_held_out_is_told_and_weighs_one(
    which: str, tmp_path: Path, tokenizer: str
) -> None:
    kind, made, settings, rare = MADE[which]
    rows = made()
    file = write_jsonl(tmp_path / "train.jsonl", rows)

    def data(**more: Any) -> Any:
        return kind(train=str(file), tokenizer=tokenizer, **settings, **more)

    before = data()
    second = next(n for n in held_out(before) if n % 2)  # whose class is not that of its text
    assert before.remarks == []
    rows[second]["label"] = rare
    write_jsonl(file, rows)
    found = data()
    place = found.labels.names.index("rare")
    labels = found.split("train").labels
    assert not labels[:, place].any() if which == "many" else place not in labels
    (remark,) = found.remarks
    assert remark.startswith(f"no training row has 'rare' ({file}:{second + 1}): those rows are")
    if which != "many":
        weights = found.balanced_weights()
        assert weights[place] == 1.0
        assert sum(weights[n] for n in labels) == pytest.approx(len(labels))

    # the cure: validation rows of their own
    val = write_jsonl(tmp_path / "val.jsonl", [rows[second]])
    cures = {"fold": 0, "folds": 0} if "fold" in settings else {}
    cured = kind(train=str(file), val=str(val), tokenizer=tokenizer, **{**settings, **cures})
    cured.split("train")
    assert not any("no training row" in said for said in cured.remarks)


def test_tags_of_sentences_that_are_held_out_are_told(tmp_path: Path, tokenizer: str) -> None:
    rows = tagged(40, 1)
    file = write_jsonl(tmp_path / "train.jsonl", rows)
    (row, *_) = held_out(TaggedWords(train=str(file), tokenizer=tokenizer))
    rows[row]["tags"][0] = "B-rare"
    write_jsonl(file, rows)
    found = TaggedWords(train=str(file), tokenizer=tokenizer)
    found.split("train")
    assert any(f"no training row has 'B-rare' ({file}:{row + 1})" in r for r in found.remarks)
    assert found.balanced_weights()[found.labels.names.index("B-rare")] == 1.0
