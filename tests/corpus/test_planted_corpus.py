"""A corpus in which all that is wrong was planted: the books must tell just that."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from roots.corpus import (
    Books,
    BytePairs,
    Contamination,
    Corpus,
    ExactDuplicates,
    NearDuplicates,
    Normalise,
    Pii,
    RepeatedLines,
)
from roots.corpus.command import main
from roots.corpus.duplicates import blocks
from roots.records import plain
from roots.shards import ShardFolder
from roots.sources import Jsonl
from roots.tokenizer import Tokenizer

NOTICE = "Ask ann@roots.io about the cookies of this site."
PLAIN, EXACT, NEAR, UNLIKE, EXAM = 40, 7, 5, 3, 4


def words() -> Iterator[str]:
    """Words that never come again, so that similarities are known by construction."""
    return (f"w{number}" for number in iter(range(10**6)))


def page(of: Iterator[str], n: int) -> str:
    return " ".join(next(of) for _ in range(n))


def alike(of: Iterator[str], n_shared: int, n_own: int) -> tuple[str, str]:
    """Two texts of Jaccard similarity n_shared / (n_shared + 2 n_own) over runs of five words."""
    shared = page(of, n_shared + 4)
    return f"{shared} {page(of, n_own)}", f"{shared} {page(of, n_own)}"


def planted() -> tuple[list[str], list[str]]:
    """Texts in a shuffled order, each copy behind its first, and the exam's questions."""
    of = words()
    groups = [[page(of, 60)] for _ in range(PLAIN)]
    groups += [[text, text.upper() + "\n\n\n"] for text in (page(of, 50) for _ in range(EXACT))]
    groups += [list(alike(of, 90, 5)) for _ in range(NEAR)]  # Jaccard 0.9
    groups += [list(alike(of, 70, 15)) for _ in range(UNLIKE)]  # Jaccard 0.7: both stay
    exam = [page(of, 30) for _ in range(EXAM)]
    groups += [[f"{page(of, 40)} {question} {page(of, 5)}"] for question in exam]
    groups += [[f"{page(of, 30)}\n{NOTICE}\n{page(of, 30)}"] for _ in range(6)]
    groups += [[f"{page(of, 30)} mail bob{i}@roots.io now"] for i in range(8)]
    random.Random(1).shuffle(groups)
    firsts, copies = [group[0] for group in groups], [each for g in groups for each in g[1:]]
    return [*firsts, *copies], exam


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes the texts between bad records and a bad byte, and the exam; works in small blocks."""
    texts, exam = planted()
    lines = [json.dumps({"text": text}).encode() + b"\n" for text in texts]
    lines[10:10] = [b"{no json\n", b'{"text": 3}\n', b'{"text": " "}\n']
    lines.append(b'{"text": "one bad byte \xff here"}\n')
    (tmp_path / "pages.jsonl").write_bytes(b"".join(lines))
    questions = [json.dumps({"text": question}) + "\n" for question in exam]
    (tmp_path / "exam.jsonl").write_text("".join(questions))
    monkeypatch.setattr("roots.corpus.pipeline.BATCH_CHARACTERS", 4000)
    monkeypatch.setattr(blocks, "_MAX_DOCUMENTS", 16)
    return tmp_path


def corpus(folder: Path, out: str, workers: int = 1) -> Corpus:
    return Corpus(
        source=Jsonl(
            paths=str(folder / "pages.jsonl"), on_bad_record="skip", max_bad_fraction=0.05
        ),
        out=str(folder / out),
        stages=[
            Normalise(),
            ExactDuplicates(),
            NearDuplicates(),
            RepeatedLines(max_documents=3),
            Contamination(evaluations={"exam": Jsonl(paths=str(folder / "exam.jsonl"))}),
            Pii(),  # behind the passes, so that the lines that they quote must be cleaned
        ],
        tokenizer=BytePairs(vocab_size=300),
        val_fraction=0,
        workers=workers,
    )


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_books_tell_what_was_planted(folder: Path) -> None:
    made = ShardFolder.open(corpus(folder, "out").prepare(progress=False))
    manifest, books = made.manifest, Books.from_plain(made.manifest.books)
    assert manifest.records_rejected == {"not_json": 1, "no_string": 1}
    assert manifest.places_replaced == 1
    assert manifest.documents_dropped == {
        "empty": 1,
        "exact_duplicate": EXACT,
        "near_duplicate": NEAR,
        "contaminated": EXAM,
    }
    n_read = PLAIN + 2 * EXACT + 2 * NEAR + 2 * UNLIKE + EXAM + 6 + 8 + 2
    assert manifest.documents_read == n_read
    assert books.documents_kept == n_read - 1 - EXACT - NEAR - EXAM
    assert books.of(4).counted == {"repeated_line": 6}
    assert books.of(6).counted == {"email": 8}
    shard, tokenizer = made.shard("train"), Tokenizer.load(made.tokenizer_path)
    texts = [tokenizer.decode(shard.document(i).tolist()[:-1]) for i in range(shard.n_documents)]
    assert len(texts) == books.documents_kept
    assert sum("<EMAIL>" in text for text in texts) == 8
    assert "one bad byte \ufffd here" in texts
    assert not [text for text in texts if "@" in text or "cookies" in text]
    made.verify()


def test_the_findings_name_each_planted_thing_and_nobody(folder: Path) -> None:
    made = ShardFolder.open(corpus(folder, "out").prepare(progress=False))
    assert list(made.manifest.findings) == [
        "exact_duplicates.jsonl",
        "near_duplicates.jsonl",
        "repeated_lines.jsonl",
        "contamination.jsonl",
        "contamination.json",
    ]
    near = lines_of(made.path / "near_duplicates.jsonl")
    assert [cluster["jaccard"] for cluster in near] == [[0.9]] * NEAR
    assert [len(each["dropped"]) for each in lines_of(made.path / "exact_duplicates.jsonl")] == (
        [1] * EXACT
    )
    assert lines_of(made.path / "repeated_lines.jsonl") == [
        {"line": NOTICE.replace("ann@roots.io", "<EMAIL>"), "documents": 6}
    ]
    exam = json.loads((made.path / "contamination.json").read_text())["exam"]
    assert exam == {
        "items": EXAM,
        "items_too_short": 0,
        "items_found": EXAM,
        "documents_dropped": EXAM,
    }
    written = b"".join(path.read_bytes() for path in made.path.rglob("*.json*"))
    assert b"@roots.io" not in written


def test_one_worker_and_two_write_the_same_bytes(folder: Path) -> None:
    one, two = (
        corpus(folder, f"out{workers}", workers).prepare(progress=False) for workers in (1, 2)
    )
    names = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert names == {path.relative_to(two) for path in two.rglob("*") if path.is_file()}
    assert [n for n in sorted(names) if (one / n).read_bytes() != (two / n).read_bytes()] == []


def test_another_exam_is_a_change_and_a_touched_one_is_not(folder: Path) -> None:
    made = corpus(folder, "out")
    made.prepare(progress=False)
    exam = folder / "exam.jsonl"
    exam.write_bytes(exam.read_bytes())
    assert made.stale_because() is None
    exam.write_text('{"text": "' + page(words(), 20) + '"}\n')
    assert f"its input changed: {exam}" in str(made.stale_because())
    made.prepare(progress=False)
    assert ShardFolder.open(folder / "out").manifest.documents_dropped["contaminated"] == 1
    exam.unlink()
    assert made.stale_because() is None  # what it was made from may be gone


def test_findings_of_before_are_not_left_when_stages_change(folder: Path) -> None:
    corpus(folder, "out").prepare(progress=False)
    made = corpus(folder, "out")
    made.stages = (ExactDuplicates(), ExactDuplicates(fold_case=False))
    made.prepare(progress=False)
    found = {path.name for path in (folder / "out").glob("*.json*")}
    assert found == {
        "manifest.json",
        "inputs.json",
        "kept.json",
        "dropped.jsonl",
        "rejects.jsonl",
        "exact_duplicates.jsonl",
        "exact_duplicates-2.jsonl",
    }
    assert not list(folder.glob("out.*-*"))


def test_a_sample_goes_through_the_passes_and_writes_nothing(folder: Path, capsys) -> None:
    made = corpus(folder, "out")
    config = {
        "source": plain(made.source),
        "out": made.out,
        "stages": plain(made.stages),
        "tokenizer": {"class_path": "roots.corpus.BytePairs", "init_args": {"vocab_size": 300}},
    }
    (folder / "planted.yaml").write_text(yaml.safe_dump(config))
    before = sorted(folder.rglob("*"))
    assert main(["--config", str(folder / "planted.yaml"), "--sample", "1000"]) == 0
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line]
    assert ["near_duplicate", str(NEAR)] in rows
    assert "NearDuplicates: near_duplicate (Jaccard 0.9000 with " in said
    assert "Contamination: contaminated (100% of exam: " in said
    assert "@roots.io" not in said
    assert sorted(folder.rglob("*")) == before
