"""A build that is killed within a pass goes on within it, and ends with the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import killed_builds
import psutil
import pytest
from corpus_parts import Copies
from killed_builds import (
    SMALL,
    STAGES,
    Killed,
    contents,
    made,
    small_batches,  # noqa: F401 - around every test
)

from roots.corpus import ExactDuplicates, NearDuplicates, Normalise, RepeatedLines
from roots.corpus.duplicates import near
from roots.corpus.noted_parts import Parts
from roots.corpus.spool import SpoolWriter

pytestmark = pytest.mark.heavy

PARTS = {
    "roots.corpus.duplicates.blocks._MAX_DOCUMENTS": 8,
    "roots.corpus.duplicates.blocks.BLOCKS_PER_PART": 2,
    "roots.corpus.duplicates.lines._RANGE_BITS": 3,
}


def put(folder: Path) -> None:
    """Writes the usual corpus, with a line that stands in many documents."""
    killed_builds.put(folder)
    path = folder / "text.jsonl"
    path.write_text(path.read_text().replace('", "url"', '\\na line that is everywhere", "url"'))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch) -> None:
    for setting, value in PARTS.items():
        monkeypatch.setattr(setting, value)


KILL = f"""
import importlib, os, signal, sys
from pathlib import Path
def change(place, value):
    owner, _, name = place.rpartition(".")
    try:
        owner = importlib.import_module(owner)
    except ModuleNotFoundError:
        module, _, kind = owner.rpartition(".")
        owner = getattr(importlib.import_module(module), kind)
    before = getattr(owner, name)
    setattr(owner, name, value(before) if callable(value) else value)
for setting, value in {SMALL | PARTS!r}.items():
    change(setting, value)
place, number, count = sys.argv[2], int(sys.argv[3]), [0]
def deadly(whole):
    def killed(*args, **named):
        count[0] += 1
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*args, **named)
    return killed
change(place, deadly)
from killed_builds import made
made(Path(sys.argv[1]), workers=int(sys.argv[4])).prepare(progress=False)
"""
IN = "roots.corpus.duplicates"


@pytest.mark.parametrize(
    ("place", "number", "workers", "then", "said"),
    [
        (f"{IN}.exact.digest", 100, 1, 2, "ExactDuplicates: keys of 96 of 240 documents"),
        pytest.param(f"{IN}.near.write_parts", 1, 2, 1, "", marks=pytest.mark.slow),
        (f"{IN}.near._alone_when_empty", 6, 2, 2, "NearDuplicates: signatures of 32 of "),
        (f"{IN}.groups.equal_keys", 8, 1, 1, "NearDuplicates: groups of 7 of 20 bands"),
        (f"{IN}.kept.jaccard", 9, 1, 2, "NearDuplicates: decisions of "),
        (f"{IN}.near.Clusters.write", 2, 2, 1, "NearDuplicates: decisions of "),
        (
            "roots.corpus.pipeline.take_findings",
            2,
            1,
            1,
            "NearDuplicates: decisions of ",
        ),
        ("roots.corpus.spooling._remove_before", 3, 1, 1, ""),
        (f"{IN}.lines.frequent_keys", 6, 1, 1, "RepeatedLines: counts of 5 of 8 ranges of hashes"),
        (f"{IN}.lines.replace", 90, 1, 1, "RepeatedLines: decisions of "),
    ],
)
def test_a_process_that_is_killed_in_a_pass_is_gone_on_with(
    tmp_path, capsys, place, number, workers, then, said
) -> None:
    put(tmp_path)
    made(tmp_path, "quiet").prepare(progress=False)
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here.parents[1], here, here.parent)))
    done = subprocess.run(
        [sys.executable, "-c", KILL, str(tmp_path), place, str(number), str(workers)],
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    capsys.readouterr()
    made(tmp_path, workers=then).prepare()
    assert said in capsys.readouterr().err
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "quiet", "text.jsonl"]


def killed_in(monkeypatch, corpus, step: str, parts: int) -> None:
    """Ends a build when so many parts of a step of NearDuplicates are noted."""
    write = Parts.note

    def note_and_die(self, *args, **named) -> None:
        write(self, *args, **named)
        if self.step == step and self.n == parts:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "note", note_and_die)
        with pytest.raises(Killed):
            corpus.prepare(progress=False)


def changed(**settings) -> list:
    given = {"threshold": 0.8, "bands": 20, "recall": 0.99, "words_per_shingle": 5, "seed": 1}
    near_duplicates = NearDuplicates(**(given | settings))
    return [Normalise(), ExactDuplicates(), near_duplicates, RepeatedLines(), Copies()]


@pytest.mark.parametrize(
    "settings",
    [{"threshold": 0.5}, {"bands": 10}, {"recall": 0.9}, {"words_per_shingle": 3}, {"seed": 2}],
    ids=str,
)
@pytest.mark.parametrize(("step", "parts"), [("signatures", 3), ("decisions", 3)])
def test_other_settings_use_nothing_of_what_is_there(
    tmp_path, monkeypatch, capsys, settings, step, parts
) -> None:
    put(tmp_path)
    monkeypatch.setitem(STAGES, "passes", changed())
    killed_in(monkeypatch, made(tmp_path), step, parts)
    monkeypatch.setitem(STAGES, "passes", changed(**settings))
    capsys.readouterr()
    made(tmp_path).prepare()
    said = capsys.readouterr().err
    assert "beginning anew, because what was left is of another build: " in said
    assert "are there" not in said
    made(tmp_path, "new").prepare(progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_other_documents_use_nothing_of_what_is_there(tmp_path, monkeypatch, capsys) -> None:
    put(tmp_path)
    killed_in(monkeypatch, made(tmp_path), "decisions", 3)
    text = tmp_path / "text.jsonl"
    text.write_text(text.read_text().replace("word7 ", "word8 "))
    capsys.readouterr()
    made(tmp_path).prepare()
    assert "are there" not in capsys.readouterr().err
    made(tmp_path, "new").prepare(progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_a_damaged_spool_takes_the_notes_of_its_pass_along(tmp_path, monkeypatch, capsys) -> None:
    put(tmp_path)
    made(tmp_path, "quiet").prepare(progress=False)
    killed_in(monkeypatch, made(tmp_path), "decisions", 3)
    spool = tmp_path / "out.building" / "work" / "documents-1.spool"
    raw = bytearray(spool.read_bytes())
    raw[len(raw) // 2] ^= 1
    spool.write_bytes(raw)
    capsys.readouterr()
    made(tmp_path).prepare()
    assert "are there" not in capsys.readouterr().err
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")


def test_what_a_killed_pass_left_is_removed_but_for_its_notes(tmp_path, monkeypatch) -> None:
    put(tmp_path)
    killed_in(monkeypatch, made(tmp_path), "decisions", 3)
    work = tmp_path / "out.building" / "work"
    left = [work / "pass-2" / ".old", work / "pass-1" / "left", work / "notes-1"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "large").write_bytes(bytes(100))
    seen: list[bool] = []
    real = near.number_groups

    def number_groups(*args):
        seen.extend(folder.exists() for folder in left)
        return real(*args)

    monkeypatch.setattr(near, "number_groups", number_groups)
    made(tmp_path).prepare(progress=False)
    assert seen == [False] * 3
    assert not (tmp_path / "out.building").exists()


@pytest.mark.parametrize("stages", [[], [Normalise()]], ids=["last", "stages behind"])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_that_is_kept_keeps_no_file_open(tmp_path, monkeypatch, stages, workers) -> None:
    put(tmp_path)
    monkeypatch.setitem(STAGES, "passes", [NearDuplicates(), *stages])
    made(tmp_path, "quiet").prepare(progress=False)
    add, taken = SpoolWriter.add, []

    def add_or_die(self, document) -> None:
        taken.append(document)
        if len(taken) == 270:  # 240 go into the pass
            raise Killed
        add(self, document)

    with monkeypatch.context() as patched:
        patched.setattr(SpoolWriter, "add", add_or_die)
        with pytest.raises(Killed) as kept:
            made(tmp_path, workers=workers).prepare(progress=False)
    opened = [file.path for file in psutil.Process().open_files()]
    assert not [path for path in opened if path.startswith(str(tmp_path))]
    made(tmp_path).prepare(progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "quiet")
    assert kept.traceback


def test_a_pass_without_notes_finds_an_empty_folder_again(tmp_path, monkeypatch) -> None:
    put(tmp_path)
    decide, found = Copies.decide, []

    def left_early(self, documents, scratch, ordered_map=map):
        found.append(list(scratch.iterdir()))
        verdicts = decide(self, documents, scratch, ordered_map)
        yield next(verdicts)
        if len(found) == 1:
            raise Killed
        yield from verdicts

    monkeypatch.setattr(Copies, "decide", left_early)
    with pytest.raises(Killed):
        made(tmp_path).prepare(progress=False)
    made(tmp_path).prepare(progress=False)
    assert found == [[], []]


@pytest.mark.slow
def test_killed_at_any_part_of_any_pass_it_ends_with_the_same_bytes(tmp_path, monkeypatch) -> None:
    put(tmp_path)
    noted, write, last = [], Parts.note, [0]

    def note(self, *args, **named) -> None:
        write(self, *args, **named)
        noted.append((self.step, self.n))
        if len(noted) == last[0]:
            raise Killed

    monkeypatch.setattr(Parts, "note", note)
    made(tmp_path, "quiet").prepare(progress=False)
    quiet, n_notes = contents(tmp_path / "quiet"), len(noted)
    assert n_notes > 50
    for number in range(1, n_notes + 1, 7):
        noted.clear()
        last[0] = number
        with pytest.raises(Killed):
            made(tmp_path).prepare(progress=False)
        last[0] = 0
        made(tmp_path, workers=1 + number % 8 // 5).prepare(progress=False)
        assert len(noted) == n_notes
        assert contents(tmp_path / "out") == quiet
        shutil.rmtree(tmp_path / "out")
