"""Tagging on two ranks is tagging on one, with rows of all lengths."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from ranks import run_ranks
from tiny_tasks import tagged, tagging_config, words_data, write_bert

from roots.fit import compose

pytestmark = pytest.mark.heavy

NAMES = ("train/loss", "optim/grad_norm", "val/loss", "val/f1_micro", "val/accuracy")


def steps(config: dict[str, Any], micro_batch_size: int) -> list[list[float]]:
    """Trains; gives what was logged, and says the words of the validation rows."""
    composed = compose(config, {"model.micro_batch_size": micro_batch_size})
    with composed.fit().metrics_file.open() as file:
        logged = [[float(row[name] or "nan") for name in NAMES] for row in csv.DictReader(file)]
    said = [row for batch in composed.evaluate("predict") for row in batch]
    return [*logged, sorted(row["sample"] for row in said)]  # type: ignore[list-item]


@pytest.mark.parametrize(("micro_batch_size", "label_tokens"), [(1, "all"), (3, "first")])
def test_two_ranks_make_the_same_steps_and_measure_every_word_once(
    tmp_path: Path, micro_batch_size: int, label_tokens: str
) -> None:
    bert = write_bert(tmp_path / "bert")
    rows = tagged(54, 2)
    data = words_data(tmp_path, [*rows, rows[0]], label_tokens=label_tokens)
    config = tagging_config(bert, tmp_path / "runs", data, max_steps=4, val_every_steps=2)
    alone = steps(config, 8)
    first, second = run_ranks(steps, config, micro_batch_size)
    for one, other, expected in zip(first[:-1], second[:-1], alone[:-1], strict=True):
        assert one == pytest.approx(other, rel=0, abs=0, nan_ok=True)
        assert one == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert sorted(first[-1] + second[-1]) == alone[-1] == list(range(12))
