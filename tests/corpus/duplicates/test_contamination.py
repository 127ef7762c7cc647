"""Contamination: items are found by how much of them is there, and told with their set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import fresh
from ways import Ahead, decided, dropped

from roots.corpus.duplicates import Contamination, blocks
from roots.errors import ConfigError, DataError
from roots.records import Document, Drop
from roots.sources import Jsonl, Source


class Items(Source):
    """Evaluation items from a list."""

    def __init__(self, *, texts: list[str]) -> None:
        self.texts = texts

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document]:
        for i, text in enumerate(self.texts):
            yield Document(text=text, id=f"item {i}")


def looking_for(*texts: str, **settings) -> Contamination:
    return Contamination(evaluations={"exam": Items(texts=list(texts))}, **settings)


def lines_of(folder: Path) -> list[dict]:
    lines = (folder / "contamination.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def report_of(folder: Path) -> dict[str, dict[str, int]]:
    return json.loads((folder / "contamination.json").read_text(encoding="utf-8"))


def some(n: int) -> str:
    return " ".join(fresh(n))


def test_an_item_within_a_document_is_found_and_told(tmp_path: Path) -> None:
    question, answer, other = some(40), some(20), some(60)
    sets = {"exam": Items(texts=[other, question]), "answers": Items(texts=[answer, "Yes."])}
    texts = [
        some(500),
        f"{some(300)} {question.upper().replace(' ', ', ')}! {some(300)}",
        f"{question}\n{answer}",
        question.replace(" ", " and ", 20),
    ]
    decisions = decided(Contamination(evaluations=sets), texts, tmp_path)
    assert dropped(decisions) == [1, 2]
    assert decisions[1] == Drop("contaminated", "100% of exam: item 1, 4% of the document")
    assert [
        (each["document"], each["evaluation"], each["item"]) for each in lines_of(tmp_path)
    ] == [
        ("d1", "exam", "item 1"),
        ("d2", "exam", "item 1"),
        ("d2", "answers", "item 0"),
    ]
    assert report_of(tmp_path) == {
        "exam": {"items": 2, "items_too_short": 0, "items_found": 1, "documents_dropped": 2},
        "answers": {"items": 2, "items_too_short": 1, "items_found": 1, "documents_dropped": 1},
    }


def test_a_licence_header_in_common_is_no_contamination(tmp_path: Path) -> None:
    licence = some(100)
    item = f"{licence} {some(900)}"
    documents = [f"{licence} {some(700)}" for _ in range(5)]
    assert dropped(decided(looking_for(item), documents, tmp_path)) == []
    any_hit = looking_for(item, coverage=0.001)
    assert dropped(decided(any_hit, documents, tmp_path)) == [0, 1, 2, 3, 4]


def test_what_must_be_covered_can_be_chosen(tmp_path: Path) -> None:
    item, long_item = some(60), some(3000)
    holds_item = f"{some(2000)} {item}"
    part_of_item = " ".join(long_item.split()[100:300])
    texts = [holds_item, part_of_item, item, some(100)]
    found = {"item": [0, 2], "document": [1, 2], "either": [0, 1, 2], "both": [2]}
    for covered, places in found.items():
        exam = looking_for(item, long_item, covered=covered)
        assert dropped(decided(exam, texts, tmp_path)) == places


@pytest.mark.parametrize("n_words", [8, 9, 12, 13])
def test_short_items_are_found_whole(n_words: int, tmp_path: Path) -> None:
    words = fresh(n_words)
    item = " ".join(words)
    texts = [
        f"{some(50)} {item} {some(50)}",
        f"{some(50)} {' '.join(words[:-1])} {some(50)}",
        f"{some(50)} {' '.join(words[:3])} {words[3]}x {' '.join(words[4:])}",
        item,
        " ".join(reversed(words)),
    ]
    assert dropped(decided(looking_for(item), texts, tmp_path)) == [0, 3]


def test_items_below_the_least_length_are_counted_and_not_looked_for(tmp_path: Path) -> None:
    short, item = "to be or not to be", some(30)
    texts = [f"{some(9)} {short} {some(9)}"]
    assert dropped(decided(looking_for(short, item), texts, tmp_path)) == []
    assert report_of(tmp_path)["exam"]["items_too_short"] == 1
    assert dropped(decided(looking_for(short, item, min_words=6), texts, tmp_path)) == [0]
    assert report_of(tmp_path)["exam"]["items_too_short"] == 0


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=2, max_size=12), min_size=1, max_size=5),
    st.lists(st.lists(st.sampled_from("abc"), max_size=25), max_size=6),
    st.integers(2, 5),
    st.integers(1, 10),
    st.sampled_from(["item", "document", "either", "both"]),
)
def test_the_definition(items, documents, n: int, tenths: int, covered: str) -> None:
    joined = [" ".join(words) for words in items]
    texts = [" ".join(words) for words in documents]
    judge = {"item": lambda a, _: a, "document": lambda _, b: b, "either": max, "both": min}
    expected = []
    for d, text in enumerate(texts):
        for i, item in enumerate(joined):
            length = min(n, len(items[i]))
            ours, theirs = grams(text, length), grams(item, length)
            shares = [Fraction(len(ours & theirs), max(len(each), 1)) for each in (theirs, ours)]
            if judge[covered](*shares) >= Fraction(tenths, 10):
                rounded = [round(float(share), 4) for share in shares]
                expected.append((f"d{d}", f"item {i}", *rounded))
    exam = looking_for(*joined, n=n, coverage=tenths / 10, covered=covered, min_words=2)
    with TemporaryDirectory() as name:
        decisions = decided(exam, texts, Path(name))
        lines = lines_of(Path(name))
        report = report_of(Path(name))["exam"]
    assert [tuple(v for k, v in line.items() if k != "evaluation") for line in lines] == expected
    assert {f"d{i}" for i in dropped(decisions)} == {each[0] for each in expected}
    assert report["items_found"] == len({each[1] for each in expected})
    assert report["documents_dropped"] == len({each[0] for each in expected})


def test_processes_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_MAX_DOCUMENTS", 3)
    items = [some(30) for _ in range(9)]
    texts = [f"{some(50)} {items[i % 9] if i % 3 else ''} {some(20)}" for i in range(40)]
    alone = decided(looking_for(*items), texts, tmp_path / "alone")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        spread = decided(
            looking_for(*items), texts, tmp_path / "spread", ordered_map=Ahead(pool, 3)
        )
    assert spread == alone
    assert len(dropped(alone)) == 26
    for name in ("contamination.jsonl", "contamination.json"):
        files = [(tmp_path / folder / name).read_bytes() for folder in ("alone", "spread")]
        assert files[0] == files[1]


def test_items_come_from_any_source(tmp_path: Path) -> None:
    file = tmp_path / "exam.jsonl"
    question = some(20)
    file.write_text(json.dumps({"question": question, "answer": "42"}) + "\n")
    exam = Contamination(
        evaluations={"exam": Jsonl(paths=str(file), text_field="question", id_field="answer")}
    )
    decisions = decided(exam, [question, "no"], tmp_path / "out")
    assert dropped(decisions) == [0]
    assert decisions[0].detail == "100% of exam: 42, 100% of the document"


@pytest.mark.parametrize(
    ("wrong", "words", "cure"),
    [
        ({"evaluations": {}}, "evaluations is empty", {"evaluations": {"a": Items(texts=["b"])}}),
        ({"min_words": 0}, "min_words=0 must lie between 1 and n=13", {"min_words": 1}),
        ({"min_words": 14}, "min_words=14 must lie between 1 and n=13", {"min_words": 13}),
        ({"n": 5}, "min_words=8 must lie between 1 and n=5", {"min_words": 5}),
        ({"coverage": 0.0}, "coverage=0.0 must be above 0", {"coverage": 0.5}),
        ({"coverage": 50}, "coverage=50 must be above 0 and at most 1", {"coverage": 0.5}),
        ({"covered": "all"}, "covered='all' is none of item, document,", {"covered": "both"}),
    ],
)
def test_a_wrong_setting_is_told_with_its_cure(wrong: dict, words: str, cure: dict) -> None:
    given = {"evaluations": {"exam": Items(texts=["a"])}, **wrong}
    with pytest.raises(ConfigError, match=words):
        Contamination(**given)
    Contamination(**{**given, **cure})


def test_a_set_without_an_item_to_look_for_is_told_with_its_cure(tmp_path: Path) -> None:
    sets = {"exam": Items(texts=[some(9)]), "answers": Items(texts=["yes", "no it is not"])}
    with pytest.raises(
        DataError, match=r"'answers' has 2 items, none of which has\s+min_words=8 words"
    ):
        decided(Contamination(evaluations=sets), ["a"], tmp_path)
    assert decided(Contamination(evaluations=sets, min_words=4), ["a"], tmp_path)
    del sets["answers"]
    assert decided(Contamination(evaluations=sets), ["a"], tmp_path)


def test_an_empty_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'exam' has 0 items"):
        decided(looking_for(), ["a"], tmp_path)
