"""The comparison of experiments/2026-11-near-duplicates: its truth is true, its judge is just."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "experiments" / "2026-11-near-duplicates"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    other = sys.modules.pop("compare", None)  # another experiment has one of the name
    yield
    sys.modules.pop("compare", None)
    if other is not None:
        sys.modules["compare"] = other


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
def test_all_alike_pairs_are_found(threshold: float) -> None:
    import truth

    rng = random.Random(1)
    n_found = 0
    for _ in range(40):
        base = [rng.choice("abcdef") for _ in range(20)]
        texts = [""]
        for _ in range(9):
            words = base[: rng.choice((3, 18, 19, 20))]
            for _ in range(rng.choice((0, 0, 1, 2))):
                words[rng.randrange(len(words))] = rng.choice("abcdef")
            texts.append(" ".join(words))
        sets = truth.sets(texts, str.split)
        expected = {
            (i, j): truth.jaccard(sets[i], sets[j])
            for i, j in combinations(range(1, 10), 2)
            if truth.jaccard(sets[i], sets[j]) >= threshold
        }
        assert truth.pairs(sets, threshold) == expected
        n_found += len(expected)
    assert n_found > 40


def test_the_judge_counts_pairs_twins_and_what_is_lost() -> None:
    from compare import _quality

    alike = {(0, 1): 0.82, (1, 2): 0.9, (5, 6): 1.0, (8, 9): 0.84}
    quality = _quality({1, 4, 5, 6}, alike)
    assert quality == {
        "dropped": 4,
        "pairs": 4,
        "recall": 3 / 4,
        "recall_below_0.85": 1 / 2,
        "precision": 3 / 4,  # 4 is like nothing
        "lost": 3,  # 4, and 5 and 6, which fell for each other
    }


def test_texts_are_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import texts

    real = [(f"file {i}", " ".join(f"w{i}-{k}" for k in range(400))) for i in range(20)]
    monkeypatch.setattr(texts, "_real", lambda _: iter(real))
    sizes = [texts.write(tmp_path / name, 1, 5) for name in ("a", "b")]
    assert sizes[0] == sizes[1]
    assert (sizes[0]["documents"], sizes[0]["planted"]) == (25, 5)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert set(real) < set(texts.read(tmp_path / "a"))
