"""DatatroveStages: what roots' own pipeline keeps, with books that are datatrove's statistics."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from engine_documents import single_machine, stages, write_files

from roots.corpus import ExactDuplicates, GopherQuality, Language, Pii, Pipeline
from roots.corpus.books import Books
from roots.errors import ConfigError, DataError, MissingExtra

pytest.importorskip("datatrove", reason="datatrove is not installed (extra datatrove)")

import dill
from datatrove.data import Document as TheirDocument
from datatrove.executor import LocalPipelineExecutor, SlurmPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

from roots.corpus.engines import DatatroveStages, read_books


def pipeline(folder: Path, **settings) -> list:
    """Reads two files with two tasks, decides, writes."""
    reader = JsonlReader(str(folder / "pages"), adapter=whole)
    step = DatatroveStages(stages(), books=str(folder / "books"), **settings)
    return [reader, step, JsonlWriter(str(folder / "kept"))]


def whole(self, data: dict, path: str, number: int) -> dict:
    return data


def read(folder: Path) -> list[dict]:
    """What datatrove wrote, task after task."""
    paths = sorted(folder.glob("*.jsonl.gz"))
    return [
        json.loads(line)
        for path in paths
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]


def by_part(stats: list[dict]) -> Counter[str]:
    """The totals of our step in datatrove's statistics."""
    found = next(each["stats"] for each in stats if "roots stages" in each["name"])
    totals = {k: v["total"] if isinstance(v, dict) else v for k, v in found.items()}
    return Counter({k: v for k, v in totals.items() if k != "doc_len"})


def of_books(books: Books) -> Counter[str]:
    """The same, by our books."""
    last, expected = len(books.names) - 1, Counter()
    expected["total"] = books.of(0).documents_in
    expected["forwarded"] = books.of(last).documents_kept
    for part, name in enumerate(books.names):
        row = books.of(part)
        expected["dropped"] += row.dropped.total()
        expected[f"{name}: edited"] += row.documents_edited
        expected.update({f"dropped_{name}_{reason}": n for reason, n in row.dropped.items()})
        expected.update({f"{name}: {kind}": n for kind, n in row.counted.items()})
    return +expected


def assert_balanced(books: Books) -> None:
    for part in range(len(books.names)):
        row = books.of(part)
        assert row.documents_in == row.documents_kept + row.dropped.total()
        if part:
            assert row.documents_in == books.of(part - 1).documents_kept
            assert row.characters_in == books.of(part - 1).characters_kept


def test_two_tasks_keep_what_one_machine_keeps(tmp_path: Path) -> None:
    documents = write_files(tmp_path / "pages")
    expected, books = single_machine(documents)
    dropped = JsonlWriter(str(tmp_path / "dropped"))
    steps = pipeline(tmp_path, exclusion_writer=dropped)
    logs = str(tmp_path / "logs")
    LocalPipelineExecutor(steps, tasks=2, workers=2, logging_dir=logs).run()

    kept = read(tmp_path / "kept")
    assert [(d["id"], d["text"]) for d in kept] == [(d.id, d.text) for d in expected]
    assert [d["metadata"]["n"] for d in kept] == [d.metadata["n"] for d in expected]
    found = read_books(tmp_path / "books")
    assert found.plain() == books.plain()
    assert_balanced(found)
    assert books.of(2).dropped["gopher_short_doc"] == 12
    assert books.of(4).dropped["gopher_short_doc"] == 6
    assert len(list((tmp_path / "books").iterdir())) == 2

    stats = json.loads((tmp_path / "logs" / "stats.json").read_text(encoding="utf-8"))
    assert by_part(stats) == of_books(books)

    out = read(tmp_path / "dropped")
    assert len(out) + len(kept) == len(documents)
    reasons = Counter((d["metadata"]["filter_step"], d["metadata"]["filter_reason"]) for d in out)
    assert reasons == {
        ("Read", "empty"): 6,
        ("GopherQuality", "gopher_short_doc"): 18,
    }
    mails = [d["text"] for d in out if "Mail" in d["text"]]
    assert mails == ["Mail <EMAIL>!"] * 12
    assert {d["metadata"]["filter_detail"] for d in out if "Mail" in d["text"]} == {"2 < 10"}


def test_a_task_that_is_missing_is_named_and_the_run_again_mends_it(tmp_path: Path) -> None:
    documents = write_files(tmp_path / "pages")
    steps, logs = pipeline(tmp_path), str(tmp_path / "logs")
    LocalPipelineExecutor(steps, tasks=2, workers=1, local_tasks=1, logging_dir=logs).run()
    with pytest.raises(DataError, match=r"lacks the books of 1 of 2 tasks: the first is 1"):
        read_books(tmp_path / "books")
    LocalPipelineExecutor(pipeline(tmp_path), tasks=2, workers=1, logging_dir=logs).run()
    assert read_books(tmp_path / "books").plain() == single_machine(documents)[1].plain()


def test_books_that_are_lost_of_a_finished_task_come_back_as_the_error_says(tmp_path: Path) -> None:
    documents, logs = write_files(tmp_path / "pages"), tmp_path / "logs"

    def run() -> None:
        steps = pipeline(tmp_path)
        LocalPipelineExecutor(steps, tasks=2, workers=1, logging_dir=str(logs)).run()

    run()
    (tmp_path / "books" / "00001.json").unlink()
    run()
    with pytest.raises(
        DataError, match=r"first is 1\. .* has completions/00001, remove that first"
    ):
        read_books(tmp_path / "books")
    (logs / "completions" / "00001").unlink()
    run()
    assert read_books(tmp_path / "books").plain() == single_machine(documents)[1].plain()


def test_books_of_stages_with_other_arguments_are_not_added(tmp_path: Path) -> None:
    for rank, words in enumerate((10, 50)):
        step = DatatroveStages([GopherQuality(min_words=words)], books=tmp_path)
        list(step.run([TheirDocument("text", "a")], rank, 2))
    with pytest.raises(DataError, match=r"several runs: of \[2\] tasks and 2 lists of stages"):
        read_books(tmp_path)


def test_no_books_and_those_of_two_runs_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no books"):
        read_books(tmp_path / "none")
    step = DatatroveStages(stages(), books=tmp_path)
    list(step.run([TheirDocument("text", "a")], 0, 1))
    list(step.run([TheirDocument("text", "a")], 1, 2))
    with pytest.raises(DataError, match=r"several runs: of \[1, 2\] tasks"):
        read_books(tmp_path)
    (tmp_path / "00001.json").unlink()
    assert read_books(tmp_path).documents_in == 1


def test_a_stream_that_was_broken_off_leaves_no_books(tmp_path: Path) -> None:
    step = DatatroveStages([], books=tmp_path / "books")
    stream = step.run([TheirDocument("a", "a"), TheirDocument("b", "b")], 0, 1)
    assert next(stream).text == "a"
    stream.close()
    assert not (tmp_path / "books").exists()


def test_the_step_is_the_same_after_dill(tmp_path: Path) -> None:
    documents = write_files(tmp_path / "pages")
    step = DatatroveStages(Pipeline(stages()), books=tmp_path / "books")
    again = dill.loads(dill.dumps(step, fmode=dill.CONTENTS_FMODE))
    given = [TheirDocument(d.text, d.id, metadata=dict(d.metadata)) for d in documents]
    kept = [document.text for document in again.run(given, 0, 1)]
    expected, books = single_machine(documents)
    assert kept == [each.text for each in expected]
    assert read_books(tmp_path / "books").plain() == books.plain()


def test_a_pass_and_a_pipeline_without_reader_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ExactDuplicates needs all documents"):
        DatatroveStages([Pii(), ExactDuplicates()], books=tmp_path)
    with pytest.raises(ConfigError, match="has no documents"):
        list(DatatroveStages([Pii()], books=tmp_path).run(None, 0, 1))


def test_a_task_looks_for_what_its_stages_need(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("roots.corpus.stages.language.find_spec", lambda name: None)
    step = DatatroveStages([Language()], books=tmp_path)
    with pytest.raises(MissingExtra, match=r"roots-lm\[corpus\]"):
        list(step.run([TheirDocument("text", "a")], 0, 1))


SBATCH = """#!/bin/sh
cat > /dev/null < "$2"
echo "Submitted batch job 7"
"""
SCONTROL = """#!/bin/sh
echo node1
"""


def test_slurm_tasks_run_what_the_launch_file_starts(tmp_path: Path, monkeypatch) -> None:
    """Slurm's commands are stand-ins; its tasks are run here as its launch file runs them."""
    documents = write_files(tmp_path / "pages")
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, script in (("sbatch", SBATCH), ("scontrol", SCONTROL)):
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    logs = tmp_path / "logs"
    SlurmPipelineExecutor(
        pipeline(tmp_path),
        tasks=2,
        time="01:00:00",
        partition="cpu",
        logging_dir=str(logs),
    ).run()

    script = (logs / "launch_script.slurm").read_text(encoding="utf-8")
    assert "#SBATCH --array=0-1" in script
    assert f"launch_pickled_pipeline {logs / 'executor.pik'}" in script
    code = "from datatrove.tools.launch_pickled_pipeline import main; main()"
    for task in ("0", "1"):
        environment = os.environ | {
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_NODELIST": "node1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        command = [sys.executable, "-c", code, str(logs / "executor.pik")]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=100)
    expected, books = single_machine(documents)
    assert [d["text"] for d in read(tmp_path / "kept")] == [d.text for d in expected]
    assert read_books(tmp_path / "books").plain() == books.plain()


def test_a_document_of_no_source_is_counted_as_documents(tmp_path: Path) -> None:
    step = DatatroveStages([], books=tmp_path, source_key="dump")
    list(step.run([TheirDocument("a", "a"), TheirDocument("b", "b", metadata={"dump": "x"})], 0, 1))
    books = read_books(tmp_path)
    assert books.sources == ["documents", "x"]
