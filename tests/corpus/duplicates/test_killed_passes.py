"""A pass that is killed at any part goes on behind it: the same comes out, no work done twice."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ways import Ahead, Listed

from roots.corpus.duplicates import (
    Contamination,
    ExactDuplicates,
    NearDuplicates,
    RepeatedLines,
    blocks,
    contamination,
    equal_keys,
    exact,
    groups,
    kept,
    lines,
    near,
)
from roots.corpus.noted_parts import Parts
from roots.corpus.noted_pass import NotedPass, PassNotes
from roots.records import Document, Verdict
from roots.sources import Source

BANDS = 4


class Exam(Source):
    """Items that have no files, so that nobody sees when they change."""

    items: tuple[str, ...] = ()

    def documents(self) -> Iterator[Document]:
        return (Document(text, f"item {i}") for i, text in enumerate(Exam.items))

    def files(self) -> list[Path]:
        return []


def words(*numbers: int) -> str:
    return " ".join(f"w{n}" for n in numbers)


def texts() -> list[str]:
    """Copies, near copies, lines that are everywhere, test questions, and a text without words."""
    draw = random.Random(3)
    made = []
    for i in range(160):
        of = draw.randrange(i + 1) if i % 3 else i
        text = words(*range(40 * of, 40 * of + 40 + i % 2))
        line = f"\na line that stands in every {i % 5}th text" if i % 4 else "\n"
        question = f"\n{words(*range(-20 - i % 3, 0))}" if i % 7 == 0 else ""
        made.append(f"{text}{line}{question}" if i % 20 else "...")
    return made


PASSES = {
    "exact": ExactDuplicates,
    "near": lambda: NearDuplicates(threshold=0.7, bands=BANDS, recall=0.9),
    "lines": lambda: RepeatedLines(max_documents=5),
    "contamination": lambda: Contamination(evaluations={"exam": Exam()}, n=8),
}
STEPS = {
    "exact": {"keys"},
    "near": {"signatures", "groups", "decisions"},
    "lines": {"lines", "counts", "decisions"},
    "contamination": {"decisions"},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exam, "items", (words(*range(-20, 0)), words(*range(-60, -30))))
    monkeypatch.setattr(blocks, "_MAX_DOCUMENTS", 8)
    monkeypatch.setattr(blocks, "BLOCKS_PER_PART", 3)
    monkeypatch.setattr(lines, "_RANGE_BITS", 2)
    monkeypatch.setattr(equal_keys, "KEYS_AT_ONCE", 50)
    monkeypatch.setattr(equal_keys, "_ROWS_READ", 33)


class Killed(BaseException):
    """What ends a pass in these tests."""


class Desk:
    """A folder where a pass is begun, killed and gone on with."""

    def __init__(self, folder: Path, corpus_pass: NotedPass, given: list[str]) -> None:
        self.folder, self.corpus_pass, self.texts = folder, corpus_pass, given
        self.said: list[str] = []
        for name in ("scratch", "notes"):
            (folder / name).mkdir(parents=True)

    def decide(self, **spread) -> list[Verdict]:
        self.said = []
        notes = PassNotes(self.folder / "notes", len(self.texts), "It", self.said.append)
        documents = Listed(self.texts)
        ordered_map = spread.get("ordered_map", map)
        scratch = self.folder / "scratch"
        return list(self.corpus_pass.decide_noted(documents, scratch, notes, ordered_map))

    def findings(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / "scratch").iterdir()}

    def killed_at(self, monkeypatch, note: int, *, after: bool) -> list[str]:
        """Runs until a part is noted; gives the steps of what was noted."""
        noted, write = [], Parts.note

        def note_and_die(parts: Parts, *args, **named) -> None:
            if len(noted) == note and not after:
                raise Killed
            write(parts, *args, **named)
            noted.append(parts.step)
            if len(noted) == note + 1 and after:
                raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(Parts, "note", note_and_die)
            try:
                self.decide()
            except Killed:
                return noted
        return [*noted, "end"]

    def killed_in(self, monkeypatch, step: str, parts: int) -> None:
        """Runs until so many parts of a step are noted."""
        folder = self.folder.with_name(f"{self.folder.name}-rehearsal")
        steps = Desk(folder, self.corpus_pass, self.texts).killed_at(monkeypatch, -1, after=True)
        self.killed_at(monkeypatch, steps.index(step) + parts - 1, after=True)


def quiet(tmp_path: Path, kind: str) -> tuple[list[Verdict], dict[str, bytes]]:
    """What a pass gives that knows of no notes."""
    folder = tmp_path / "quiet"
    folder.mkdir(parents=True)
    verdicts = list(PASSES[kind]().decide(Listed(texts()), folder))
    assert len({type(verdict) for verdict in verdicts}) > 1
    return verdicts, {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", list(PASSES))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_any_part_it_ends_with_the_same(tmp_path, monkeypatch, kind, after) -> None:
    verdicts, findings = quiet(tmp_path, kind)
    steps = Desk(tmp_path / "all", PASSES[kind](), texts()).killed_at(monkeypatch, -1, after=True)
    assert set(steps) == STEPS[kind] | {"end"}
    for number in range(len(steps) - 1):
        desk = Desk(tmp_path / str(number), PASSES[kind](), texts())
        assert desk.killed_at(monkeypatch, number, after=after) == steps[: number + after]
        with ThreadPoolExecutor(2) as threads:
            spread = {"ordered_map": Ahead(threads, 3)} if number % 2 else {}
            assert desk.decide(**spread) == verdicts
        assert desk.findings() == findings
        assert bool(desk.said) == (number + after > 0)


@pytest.mark.parametrize("kind", list(PASSES))
def test_killed_again_and_again_every_part_is_made_once(tmp_path, monkeypatch, kind) -> None:
    verdicts, findings = quiet(tmp_path, kind)
    steps = Desk(tmp_path / "all", PASSES[kind](), texts()).killed_at(monkeypatch, -1, after=True)
    desk = Desk(tmp_path / "killed", PASSES[kind](), texts())
    noted: list[str] = []
    while (new := desk.killed_at(monkeypatch, 0, after=True)) != ["end"]:
        noted += new
    assert [*noted, "end"] == steps
    assert desk.decide() == verdicts
    assert desk.findings() == findings


def counted(monkeypatch, module, name: str, calls: Counter) -> None:
    real = getattr(module, name)

    def counting(*args, **named):
        calls[name] += 1
        return real(*args, **named)

    monkeypatch.setattr(module, name, counting)


WORK = {
    "exact": [(exact, "_keys")],
    "near": [(near, "_keys"), (groups, "equal_keys"), (near, "_shingles"), (kept, "jaccard")],
    "lines": [(lines, "_line_hashes"), (lines, "frequent_keys")],
    "contamination": [(contamination, "_hits")],
}


@pytest.mark.parametrize(
    ("kind", "step", "parts", "left"),
    [
        ("exact", "keys", 3, {"_keys": 11}),
        ("exact", "keys", 7, {}),
        ("near", "signatures", 3, {"_keys": 11, "equal_keys": 4, "_shingles": 31}),
        ("near", "signatures", 7, {"equal_keys": 4, "_shingles": 20}),
        ("near", "groups", 1, {"equal_keys": 3, "_shingles": 20}),
        ("near", "groups", 4, {"_shingles": 20}),
        ("near", "decisions", 2, {"_shingles": 14}),
        ("near", "decisions", 7, {}),
        ("lines", "lines", 2, {"_line_hashes": 34, "frequent_keys": 4}),
        ("lines", "counts", 1, {"_line_hashes": 20, "frequent_keys": 3}),
        ("lines", "decisions", 5, {"_line_hashes": 5}),
        ("contamination", "decisions", 1, {"_hits": 17}),
    ],
)
def test_work_that_is_noted_is_not_done_again(
    tmp_path, monkeypatch, kind, step, parts, left
) -> None:
    # 160 documents are 20 blocks of 8, and 7 parts of 3 blocks.
    desk = Desk(tmp_path / "desk", PASSES[kind](), texts())
    desk.killed_in(monkeypatch, step, parts)
    calls: Counter[str] = Counter()
    for module, name in WORK[kind]:
        counted(monkeypatch, module, name, calls)
    desk.decide()
    compared = calls.pop("jaccard", 0)
    assert calls == left
    if (step, parts) == ("decisions", 7):
        assert compared == 0
    ranges = {"groups": f"{BANDS} bands", "counts": "4 ranges of hashes"}
    done = parts if step in ranges else min(24 * parts, 160)
    assert any(f"It: {step} of {done} of {ranges.get(step, 160)} " in line for line in desk.said)


DAMAGED = [
    ("exact", "keys", 4, "keys", {"_keys": 17}),
    ("near", "signatures", 5, "keys-02", {"_keys": 17, "equal_keys": 4, "_shingles": 37}),
    ("near", "groups", 3, "groups-01", {"_keys": 20, "equal_keys": 3, "_shingles": 40}),
    ("near", "groups", 2, "keys-03", {"_keys": 14, "equal_keys": 2, "_shingles": 34}),
    ("near", "decisions", 4, "shingles", None),
    ("near", "decisions", 4, "decisions", None),
    ("near", "decisions", 4, "ends", None),
    ("lines", "lines", 4, "lines-02", None),
    ("lines", "counts", 2, "lines-03", None),
    ("lines", "decisions", 4, "repeated", None),
    ("lines", "decisions", 4, "decisions", None),
    ("contamination", "decisions", 4, "decisions", None),
]


@pytest.mark.parametrize(("kind", "step", "parts", "name", "left"), DAMAGED)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_what_is_torn_is_made_again(
    tmp_path, monkeypatch, kind, step, parts, name, left, damage
) -> None:
    verdicts, findings = quiet(tmp_path, kind)
    desk = Desk(tmp_path / "desk", PASSES[kind](), texts())
    desk.killed_in(monkeypatch, step, parts)
    path = desk.folder / "notes" / name
    raw = bytearray(path.read_bytes())
    place = len(raw) * 3 // 8
    raw[place] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(raw if damage == "flipped" else raw[:place])
    calls: Counter[str] = Counter()
    for module, function in WORK[kind]:
        counted(monkeypatch, module, function, calls)
    assert desk.decide() == verdicts
    assert desk.findings() == findings
    calls.pop("jaccard", 0)
    if left and damage != "gone":
        assert calls == left


@pytest.mark.parametrize("kind", list(PASSES))
@pytest.mark.parametrize("part", [0, 2])
def test_a_torn_note_ends_what_is_there(tmp_path, monkeypatch, kind, part) -> None:
    verdicts, findings = quiet(tmp_path, kind)
    step = {"exact": "keys", "lines": "lines"}.get(kind, "decisions")
    desk = Desk(tmp_path / "desk", PASSES[kind](), texts())
    desk.killed_in(monkeypatch, step, 5)
    note = desk.folder / "notes" / f"{step}-{part:06d}.json"
    note.write_text(note.read_text()[:-9])
    assert desk.decide() == verdicts
    assert desk.findings() == findings
    assert any(f"It: {step} of {24 * part} of 160" in line for line in desk.said) == (part > 0)


def test_other_questions_are_looked_for_from_the_beginning(tmp_path, monkeypatch) -> None:
    desk = Desk(tmp_path / "desk", PASSES["contamination"](), texts())
    desk.killed_in(monkeypatch, "decisions", 4)
    before = quiet(tmp_path, "contamination")
    monkeypatch.setattr(Exam, "items", (words(*range(40)), *Exam.items))
    now = desk.decide(), desk.findings()
    assert desk.said == []
    assert now == quiet(tmp_path / "again", "contamination")
    assert now != before


def test_numbers_of_the_decisions_survive_the_notes_exactly(tmp_path, monkeypatch) -> None:
    desk = Desk(tmp_path / "desk", PASSES["near"](), texts())
    desk.decide()
    noted = (desk.folder / "notes" / "decisions").read_text().splitlines()
    similar = [value for line in noted for match, value in json.loads(line) if match >= 0]
    clusters = (desk.folder / "scratch" / "near_duplicates.jsonl").read_text().splitlines()
    written = [value for line in clusters for value in json.loads(line)["jaccard"]]
    assert sorted(round(value, 4) for value in similar) == sorted(written)
