"""Which rows a run was validated on is known by their fingerprint, whatever reads them."""

from __future__ import annotations

from pathlib import Path

from tiny_tasks import classes, write_jsonl, write_tokenizer

from roots.data import LabelledTexts


def data(folder: Path, *, train: int = 1, val: int = 2, words: tuple[str, ...] = ("of",)) -> str:
    made = LabelledTexts(
        train=str(write_jsonl(folder / f"train-{train}.jsonl", classes(20, seed=train))),
        val=str(write_jsonl(folder / f"val-{val}.jsonl", classes(10, seed=val))),
        tokenizer=str(write_tokenizer(folder / "-".join(words), words)),
        seq_len=16,
        sequences_per_step=4,
    )
    made.prepare_data()
    return made.validated_on


def test_it_changes_with_the_validation_rows_alone(tmp_path: Path) -> None:
    first = data(tmp_path)
    assert len(first) == 64
    assert data(tmp_path, train=3) == first
    assert data(tmp_path, words=("the", "sun")) == first
    assert data(tmp_path, val=4) != first
