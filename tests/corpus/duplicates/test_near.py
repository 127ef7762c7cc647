"""NearDuplicates: recall and precision on known similarities; the greedy rule; order of work."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import N, corpus, fresh, pair
from ways import Ahead, decided, dropped

from roots.corpus.duplicates import NearDuplicates, blocks, equal_keys
from roots.errors import ConfigError
from roots.records import Drop

THRESHOLD = Fraction(8, 10)


def grams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + N]) for i in range(max(len(words) - N + 1, min(len(words), 1)))}


def similarity(a: str, b: str) -> Fraction:
    ours, theirs = grams(a), grams(b)
    return Fraction(len(ours & theirs), max(len(ours | theirs), 1))


def greedily(texts: list[str], threshold: Fraction) -> dict[int, int]:
    """Who falls for whom by the definition: for the first kept document that is like it."""
    fallen: dict[int, int] = {}
    for i, text in enumerate(texts):
        kept = (k for k in range(i) if k not in fallen)
        found = next((k for k in kept if similarity(texts[k], text) >= threshold), None)
        if found is not None:
            fallen[i] = found
    return fallen


def clusters(folder: Path) -> list[dict]:
    lines = (folder / "near_duplicates.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_planted_pairs_are_as_alike_as_they_say() -> None:
    for n_shared, n_own in [(1, 1), (8, 1), (80, 10), (7, 0)]:
        first, second, known = pair(n_shared, n_own)
        assert similarity(first, second) == known


def test_recall_and_precision_on_planted_pairs(tmp_path: Path) -> None:
    wanted = [Fraction(i, 100) for i in (*range(50, 101), *[80] * 50) for _ in range(12)]
    documents, pairs = corpus(wanted, seed=5)
    decisions = decided(NearDuplicates(), [each.text for each in documents], tmp_path)
    fallen = set(dropped(decisions))
    alike = {(p.first, p.second) for p in pairs if p.similarity >= THRESHOLD}
    at_threshold = {p.second for p in pairs if p.similarity == THRESHOLD}
    assert len(at_threshold) > 500
    right = {second for _, second in alike}
    assert len(fallen & right) / len(right) >= 0.98
    assert len(fallen & at_threshold) / len(at_threshold) >= 0.98
    assert len(fallen & right) / len(fallen) >= 0.99
    known = {p.second: f"Jaccard {float(p.similarity):.4f} with d{p.first}" for p in pairs}
    for place in fallen:
        assert decisions[place] == Drop("near_duplicate", known[place])


def test_chains_keep_both_ends(tmp_path: Path) -> None:
    words = fresh(120)
    chain = [" ".join(words[i : i + 100]) for i in (0, 10, 20)]
    assert similarity(chain[0], chain[1]) == similarity(chain[1], chain[2]) > THRESHOLD
    assert similarity(chain[0], chain[2]) < THRESHOLD
    texts = [*chain, " ".join(fresh(90))]
    decisions = decided(NearDuplicates(), texts, tmp_path)
    assert dropped(decisions) == [1]
    assert decisions[1] == Drop("near_duplicate", f"Jaccard {86 / 106:.4f} with d0")
    assert clusters(tmp_path) == [{"kept": "d0", "dropped": ["d1"], "jaccard": [0.8113]}]
    assert dropped(decided(NearDuplicates(), [texts[i] for i in (1, 0, 2, 3)], tmp_path)) == [1, 2]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=14), max_size=14), st.integers(1, 9))
def test_the_definition_when_nothing_can_be_overlooked(texts: list[list[str]], t: int) -> None:
    # So many bands of few rows overlook no pair at the threshold in a million.
    near = NearDuplicates(threshold=t / 10, recall=0.999999, bands=200)
    joined = [" ".join(words) for words in texts]
    with TemporaryDirectory() as name:
        decisions = decided(near, joined, Path(name))
        written = clusters(Path(name))
    expected = greedily(joined, Fraction(t, 10))
    found = {i: int(decisions[i].detail.rpartition("d")[2]) for i in dropped(decisions)}
    assert found == expected
    in_file = {int(i[1:]): int(line["kept"][1:]) for line in written for i in line["dropped"]}
    assert in_file == expected


def test_every_way_of_working_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents, _ = corpus([Fraction(i, 100) for i in range(50, 101, 2) for _ in range(6)], seed=9)
    texts = [each.text for each in documents]
    plain = decided(NearDuplicates(), texts, tmp_path / "plain")
    monkeypatch.setattr(blocks, "_MAX_DOCUMENTS", 7)
    monkeypatch.setattr(equal_keys, "KEYS_AT_ONCE", 50)
    monkeypatch.setattr(equal_keys, "_ROWS_READ", 33)
    written = (tmp_path / "plain" / "near_duplicates.jsonl").read_bytes()
    processes = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    with processes, ThreadPoolExecutor(3) as threads:
        for name, executor, ahead in (("threads", threads, 5), ("processes", processes, 2)):
            folder = tmp_path / name
            spread = decided(NearDuplicates(), texts, folder, ordered_map=Ahead(executor, ahead))
            assert spread == plain
            assert (folder / "near_duplicates.jsonl").read_bytes() == written
    assert 20 < len(dropped(plain)) < len(texts) / 3


def test_nothing_is_not_like_nothing(tmp_path: Path) -> None:
    texts = ["", "...", "one two", "One, two!", "", "one", "two one"]
    assert dropped(decided(NearDuplicates(), texts, tmp_path)) == [3]
    assert decided(NearDuplicates(), [], tmp_path) == []
    assert clusters(tmp_path) == []


def test_a_family_of_many_copies_is_compared_with_the_first_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roots.corpus.duplicates import kept

    compared = []

    def counted(a, b) -> float:
        compared.append(1)
        return real(a, b)

    real = kept.jaccard
    monkeypatch.setattr(kept, "jaccard", counted)
    shared = fresh(200)
    texts = [" ".join([*shared, *fresh(3)]) for _ in range(300)]
    assert dropped(decided(NearDuplicates(), texts, tmp_path)) == list(range(1, 300))
    assert len(compared) == 299


def test_another_seed_changes_what_is_overlooked_and_nothing_else(tmp_path: Path) -> None:
    documents, pairs = corpus([Fraction(6, 10)] * 300, seed=2)
    texts = [each.text for each in documents]
    alike = {p.second for p in pairs if p.similarity >= Fraction(6, 10)}
    weak = {"threshold": 0.6, "recall": 0.5, "bands": 4}
    one, other = (
        set(dropped(decided(NearDuplicates(**weak, seed=seed), texts, tmp_path))) for seed in (1, 2)
    )
    assert one | other <= alike
    assert one != other
    for found in (one, other):
        assert len(found) / len(alike) == pytest.approx(
            NearDuplicates(**weak).banding.probability(0.6), abs=0.15
        )


@pytest.mark.parametrize(
    ("wrong", "words", "cure"),
    [
        ({"threshold": 0.0}, r"threshold=0.0 .* Set it above 0", {"threshold": 0.8}),
        ({"threshold": 80}, r"threshold=80 ", {"threshold": 0.8}),
        ({"recall": 1.0}, r"recall=1.0 must be .* below 1\. Set it to 0.99", {"recall": 0.99}),
        ({"bands": 0}, r"bands=0 must be 1 or more", {"bands": 20}),
        ({"bands": 513}, r"bands=513 must be .* at most 512", {"bands": 512}),
        ({"words_per_shingle": 0}, "words_per_shingle=0 and", {"words_per_shingle": 5}),
        ({"bands": 1, "recall": 0.95}, r"With 1 bands.*Set bands higher", {"bands": 2}),
    ],
)
def test_a_wrong_setting_is_told_with_its_cure(wrong: dict, words: str, cure: dict) -> None:
    with pytest.raises(ConfigError, match=words):
        NearDuplicates(**wrong)
    assert NearDuplicates(**{**wrong, **cure}).banding.rows > 0
