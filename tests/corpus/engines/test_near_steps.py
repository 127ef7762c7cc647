"""Near duplicates through datatrove's signatures, buckets and clusters, then verified by roots."""

from __future__ import annotations

import json
import random
import shutil
import struct
import sys
from collections import deque
from copy import deepcopy
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from roots.corpus import NearDuplicates, Pipeline
from roots.errors import ConfigError, DataError
from roots.records import Document

pytest.importorskip("datatrove", reason="datatrove is not installed (extra datatrove)")
sys.path.insert(0, str(Path(__file__).parents[1] / "duplicates"))

import dill
from datatrove.data import Document as TheirDocument
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from planted import corpus, fresh
from test_datatrove_stages import read

from roots.corpus.engines import NearDuplicateSteps, candidate_groups, read_books
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.near_candidates import cluster_ranks

NEAR = NearDuplicates(recall=0.999999)
"""At the threshold a pair is overlooked once in 10^6, so that both ways find the same."""
ALIKE = [Fraction(i, 100) for i in (80, 85, 90, 95, 100)]
UNLIKE = [Fraction(i, 100) for i in (60, 65, 70, 75)]


@cache
def planted() -> tuple[list[Document], set[str]]:
    """Documents, and the ids of those that must fall: of pairs, copies and a chain."""
    documents, pairs = corpus([*ALIKE * 6, *UNLIKE * 10], seed=11)
    fall = {f"d{pair.second}" for pair in pairs if pair.similarity >= Fraction(8, 10)}
    words = fresh(120)
    chain = [" ".join(words[i : i + 100]) for i in (0, 10, 20)]  # 0.81, 0.81; the ends 0.66
    more = [documents[0].text, documents[0].text, *chain, " \n", "!", "two words", "two words"]
    documents += [Document(text, f"m{i}") for i, text in enumerate(more)]
    return documents, fall | {"m0", "m1", "m3", "m8"}


def write(documents: list[Document], folder: Path) -> JsonlReader:
    """Writes two files; with two tasks the order of tasks is that of the documents."""
    folder.mkdir(parents=True)
    half = len(documents) * 2 // 3
    for number, part in enumerate((documents[:half], documents[half:])):
        lines = [json.dumps({"text": d.text, "id": d.id}) for d in part]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return JsonlReader(str(folder), adapter=whole)


def whole(self, data: dict, path: str, number: int) -> dict:
    return data


def pipelines(steps: NearDuplicateSteps, reader: JsonlReader, folder: Path) -> list:
    """The six of them, each with its number of tasks."""
    removal = steps.removal(
        books=folder / "books", exclusion_writer=JsonlWriter(str(folder / "dropped"))
    )
    return [
        ([reader, steps.signatures()], 2),
        ([steps.buckets()], steps.n_buckets),
        ([steps.clusters()], 1),
        ([reader, steps.candidates()], 2),
        ([steps.verification()], steps.verifiers),
        ([reader, removal, JsonlWriter(str(folder / "kept"))], 2),
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, JsonlReader, NearDuplicateSteps]:
    """All six pipelines, task after task in this process."""
    folder = tmp_path_factory.mktemp("near")
    reader = write(planted()[0], folder / "pages")
    steps = NearDuplicateSteps(NEAR, folder=folder / "near", verifiers=3)
    for pipeline, tasks in pipelines(steps, reader, folder):
        for rank in range(tasks):
            stream = None
            for step in deepcopy(pipeline):
                stream = step(stream, rank, tasks)
            deque(stream or (), maxlen=0)
    return folder, reader, steps


def fallen(folder: Path) -> dict[str, tuple[str, float]]:
    """Who fell for whom, how alike."""
    paths = sorted((folder / "near" / "fallen").glob("*/*.jsonl"))
    lines = [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]
    return {line["id"]: (line["kept"], line["jaccard"]) for line in lines}


def on_one_machine(documents: list[Document], folder: Path):
    """The same by NearDuplicates: what is kept, and who fell for whom."""
    folder.mkdir()
    kept = list(Pipeline([NEAR]).run(documents, findings=folder))
    lines = (folder / "near_duplicates.jsonl").read_text(encoding="utf-8").splitlines()
    clusters = [json.loads(line) for line in lines]
    return kept, {
        name: (each["kept"], similarity)
        for each in clusters
        for name, similarity in zip(each["dropped"], each["jaccard"], strict=True)
    }


def test_two_tasks_drop_what_is_planted_and_what_one_machine_drops(done, tmp_path: Path) -> None:
    folder, _, _ = done
    documents, must_fall = planted()
    expected, clusters = on_one_machine([d for d in documents if d.text.strip()], tmp_path / "one")
    assert set(clusters) == must_fall
    assert fallen(folder) == clusters
    kept = [(d["id"], d["text"]) for d in read(folder / "kept")]
    blank = [(d.id, d.text) for d in documents if not d.text.strip()]
    assert [pair for pair in kept if pair not in blank] == [(d.id, d.text) for d in expected]
    assert len(kept) == len(expected) + len(blank)
    dropped = {d["id"]: d["metadata"] for d in read(folder / "dropped")}
    assert set(dropped) == must_fall
    assert {d["filter_reason"] for d in dropped.values()} == {"near_duplicate"}
    assert dropped["m3"]["filter_detail"] == f"Jaccard {86 / 106:.4f} with m2"


def test_the_books_of_the_removal_balance(done) -> None:
    folder, _, _ = done
    documents, must_fall = planted()
    row = read_books(folder / "books").of(0)
    assert row.documents_in == len(documents) == row.documents_kept + len(must_fall)
    assert row.dropped == {"near_duplicate": len(must_fall)}


def test_chance_candidates_survive_that_unverified_clusters_would_drop(done) -> None:
    folder, _, _ = done
    documents, must_fall = planted()
    half = len(documents) * 2 // 3
    unverified = set()
    for task, part in enumerate((documents[:half], documents[half:])):
        raw = (folder / "near" / "clusters" / f"{task:06d}.remove").read_bytes()
        unverified |= {part[number].id for (number,) in struct.iter_unpack("<I", raw)}
    kept = {d["id"] for d in read(folder / "kept")}
    assert len(unverified & kept) > 25
    assert len(unverified) > 1.5 * len(must_fall)


@pytest.mark.slow
def test_two_processes_and_one_verifier_drop_the_same(done, tmp_path: Path) -> None:
    folder, reader, _ = done
    steps = NearDuplicateSteps(NEAR, folder=tmp_path / "near", verifiers=1)
    for number, (pipeline, tasks) in enumerate(pipelines(steps, reader, tmp_path)):
        logs = str(tmp_path / f"logs{number}")
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=2, logging_dir=logs).run()
    stats = json.loads((tmp_path / "logs5" / "stats.json").read_text(encoding="utf-8"))
    assert stats[1]["stats"]["dropped_NearDuplicates_near_duplicate"] == len(planted()[1])
    assert fallen(tmp_path) == fallen(folder)
    assert read(tmp_path / "kept") == read(folder / "kept")


def test_every_step_is_the_same_after_dill(done, tmp_path: Path) -> None:
    _, _, steps = done
    documents = [TheirDocument("one two three four five six", "a"), TheirDocument("b", "b")]
    for step in (steps.signatures(), steps.buckets(), steps.clusters(), steps.candidates()):
        dill.loads(dill.dumps(step, fmode=dill.CONTENTS_FMODE))
    shingles = dill.loads(dill.dumps(steps.signatures())).get_shingles(documents[0].text)
    assert shingles.shape == (2, 1)
    assert shingles.dtype == np.uint64
    verification = dill.loads(dill.dumps(steps.verification()))
    assert verification.threshold == 0.8
    removal = dill.loads(dill.dumps(steps.removal(books=tmp_path)))
    assert removal.shards == 3


def test_other_documents_than_the_signatures_had_are_told(done, tmp_path: Path) -> None:
    _, _, steps = done
    documents, must_fall = planted()
    few = [TheirDocument(d.text, d.id) for d in documents[:3]]
    with pytest.raises(DataError, match=r"Task 0 has no document [\d,]+, of which a signature"):
        steps.candidates().run(few, 0, 2)
    with pytest.raises(DataError, match=r"documents of task 1, and there are 1 tasks now"):
        steps.candidates().run(few, 0, 1)
    removal = steps.removal(books=tmp_path / "books")
    with pytest.raises(DataError, match=r"Document .* of task 0 was .* and is not there now"):
        list(removal.run(few, 0, 2))
    half = len(documents) * 2 // 3
    first = next(d for d in documents[:half] if d.id in must_fall)
    others = [TheirDocument(d.text, "x" if d is first else d.id) for d in documents[:half]]
    with pytest.raises(DataError, match=f"was '{first.id}' when .* and is 'x' now"):
        list(removal.run(others, 0, 2))
    with pytest.raises(DataError, match="Documents of task 1 fell, and there are 1 tasks now"):
        list(removal.run(few, 0, 1))
    assert not (tmp_path / "books").exists()
    right = [TheirDocument(d.text, d.id) for d in documents[:half]]
    assert len(list(removal.run(right, 0, 2))) == half - sum(d.id in must_fall for d in right)


def test_a_step_that_was_not_run_to_its_end_is_named(done, tmp_path: Path) -> None:
    folder, _, _ = done
    shutil.copytree(folder / "near", tmp_path / "near")
    steps = NearDuplicateSteps(NEAR, folder=tmp_path / "near", verifiers=3)
    with pytest.raises(ConfigError, match=r"are 2 tasks for 3 shards. Run this step with tasks=3"):
        steps.verification().run(None, 0, 2)
    (tmp_path / "near" / "fallen" / "00002.json").unlink()
    with pytest.raises(DataError, match="lacks shard 2 of 3: the verification has not ended"):
        list(steps.removal(books=tmp_path / "books").run([], 0, 2))
    (tmp_path / "near" / "shingles" / "00002" / "00001.bin").unlink()
    with pytest.raises(DataError, match=r"lacks the shingles of 1 tasks: the first is 1"):
        steps.verification().run(None, 2, 3)
    with pytest.raises(ConfigError, match="verifiers=0 leaves nobody to compare"):
        NearDuplicateSteps(NEAR, folder=tmp_path, verifiers=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_datatrove_does_not_take_is_refused_before_a_task(
    tmp_path: Path, seed: int
) -> None:
    with pytest.raises(ConfigError, match=rf"seed={seed} of NearDuplicates .* to 4,294,967,295"):
        NearDuplicateSteps(NearDuplicates(seed=seed), folder=tmp_path, verifiers=1)
    steps = NearDuplicateSteps(NearDuplicates(seed=2**32 - 1), folder=tmp_path, verifiers=1)
    steps.signatures().run([TheirDocument("a b c d e f", "1")], 0, 1)
    assert list((tmp_path / "signatures").rglob("*.sig"))


def test_fewer_verifiers_than_the_candidates_had_are_refused(done, tmp_path: Path) -> None:
    folder, _, _ = done
    near = tmp_path / "near"
    shutil.copytree(folder / "near", near)
    steps = NearDuplicateSteps(NEAR, folder=near, verifiers=2)
    with pytest.raises(
        DataError, match=r"fallen was written with verifiers=3, and there are 2 now"
    ):
        list(steps.removal(books=tmp_path / "books").run([], 0, 2))
    shutil.rmtree(near / "fallen")
    with pytest.raises(DataError, match=r"shingles was written with verifiers=3, .* `candidates`"):
        steps.verification().run(None, 0, 2)
    shutil.rmtree(near / "shingles")
    documents = [TheirDocument(d.text, d.id) for d in planted()[0]]
    half = len(documents) * 2 // 3
    for rank, part in enumerate((documents[:half], documents[half:])):
        steps.candidates().run(part, rank, 2)
    for shard in range(2):
        steps.verification().run(None, shard, 2)
    assert fallen(tmp_path) == fallen(folder)


def test_tasks_are_in_the_order_of_their_numbers_however_many_digits_they_have(done) -> None:
    _, _, steps = done
    verification = deepcopy(steps.verification())
    verification.shingles = verification.clusters = EngineFolder("memory://many-tasks")
    for name in ("00000/99999.bin", "00000/100000.bin", "999999.clusters", "1000000.clusters"):
        with verification.shingles.writing(name) as file:
            file.write(b"")
    assert cluster_ranks(verification.clusters) == [999_999, 1_000_000]
    verification.clusters = EngineFolder("memory://no-clusters")
    assert verification._tasks(0) == [99_999, 100_000]


def test_keys_are_equal_in_a_group_and_nowhere_else(tmp_path: Path, monkeypatch) -> None:
    rng = random.Random(3)
    for at_once in (1, 2, 3, 100):
        monkeypatch.setattr(candidate_groups, "PAIRS_AT_ONCE", at_once)
        places = sorted(rng.sample([(r, n) for r in range(3) for n in range(40)], 60))
        rng.shuffle(members := list(places))
        groups = [sorted(members[i : i + 4]) for i in range(0, 40, 4)]
        elsewhere = [[(7, i), (7, i + 1), (8, i)] for i in range(0, 9, 3)]  # of another shard
        chains = [*groups, *elsewhere]
        rng.shuffle(chains)
        pairs = [a + b for chain in chains for a, b in pairwise(chain)]
        raw = b"".join(struct.pack("<4I", *pair) for pair in pairs)
        (tmp_path / "00001_00.dups").write_bytes(raw)
        (tmp_path / "00000_00.dups").write_bytes(b"")
        whole = np.array([r << 32 | n for r, n in places], np.uint64)
        paths = candidate_groups.write_keys(EngineFolder(tmp_path), whole, 2, tmp_path)
        alone, keys = (np.fromfile(path, np.uint64).tolist() for path in paths)
        assert len(set(alone)) == len(places)
        key_of = dict(zip(places, keys, strict=True))
        for group in groups:
            assert len({key_of[each] for each in group}) == 1
        assert len(set(keys)) == len(groups) + 20
